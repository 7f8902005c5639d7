/** The doors page: opening asks first, and says what was decided. */
import { call, failed, toast } from './app.js';

const dialog = document.getElementById('confirm');

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-open]');
  if (!button) return;
  dialog.querySelector('[data-fill]').textContent = button.dataset.title;
  dialog.returnValue = '';
  dialog.addEventListener('close', () => dialog.returnValue === 'open' && open(button), { once: true });
  dialog.showModal();
});

async function open(button) {
  button.disabled = true;
  try {
    const decision = await call('POST', button.dataset.open);
    if (decision.verdict === 'admit') toast(dialog.dataset.opened);
    else toast(dialog.dataset.refused + decision.reason_text, true);
  } catch (error) {
    failed(error);
  } finally {
    button.disabled = false;
  }
}
