/** Doors: opening asks first and wants a reason, and says what was decided. */
import { call, failed, toast } from './app.js';

const dialog = document.getElementById('confirm');
const form = dialog?.querySelector('form');
const problem = dialog?.querySelector('.problem');
let chosen;

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-open]');
  if (!button) return;
  chosen = button;
  dialog.querySelector('[data-fill]').textContent = button.dataset.title;
  form.reset();
  problem.hidden = true;
  // In full screen only what lies in it is seen; a modal dialog always is.
  dialog.showModal();
  form.elements.reason.focus();
});
dialog?.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());

form?.addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = chosen;
  button.disabled = true;
  try {
    const decision = await call('POST', button.dataset.open, { reason: form.elements.reason.value });
    dialog.close();
    if (decision.verdict === 'admit') toast(dialog.dataset.opened);
    else toast(dialog.dataset.refused + decision.reason_text, true);
  } catch (error) {
    if (error.code === 'bad_reason') {
      problem.textContent = error.message;
      problem.hidden = false;
    } else {
      dialog.close();
      failed(error);
    }
  } finally {
    button.disabled = false;
  }
});
