/** The switches of the cameras page: they move at once and move back if the server says no. */
import { call, failed } from './app.js';

document.addEventListener('click', async (event) => {
  const button = event.target.closest('.switch[data-put]');
  if (!button || button.dataset.busy) return;
  const was = button.getAttribute('aria-checked') === 'true';
  button.setAttribute('aria-checked', String(!was));
  button.dataset.busy = 'yes';
  try {
    const { on } = await call('PUT', button.dataset.put, { on: !was });
    button.setAttribute('aria-checked', String(on));
  } catch (error) {
    button.setAttribute('aria-checked', String(was));
    failed(error);
  } finally {
    delete button.dataset.busy;
  }
});
