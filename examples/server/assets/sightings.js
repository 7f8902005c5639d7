/** The sightings page, for administrators: deleting asks first. */
import { call, failed, toast } from './app.js';

const dialog = document.getElementById('confirm');

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-delete]');
  if (!button) return;
  dialog.returnValue = '';
  dialog.addEventListener('close', () => dialog.returnValue === 'delete' && remove(button), { once: true });
  dialog.showModal();
});

async function remove(button) {
  button.disabled = true;
  try {
    await call('DELETE', button.dataset.delete);
    button.closest('.sighting').remove();
    toast(dialog.dataset.done);
  } catch (error) {
    failed(error);
    button.disabled = false;
  }
}
