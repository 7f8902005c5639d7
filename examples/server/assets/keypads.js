/** The keypads page: add one, make, renew and withdraw its link. */
import { call, failed } from './app.js';

const dialog = document.getElementById('add-dialog');
const form = dialog.querySelector('form');
const problem = form.querySelector('.problem');

document.getElementById('add').addEventListener('click', () => {
  form.reset();
  problem.hidden = true;
  dialog.showModal();
  form.elements.name.focus();
});
dialog.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { name, door } = form.elements;
  try {
    await call('POST', '/api/v1/keypads', { name: name.value.trim(), door: door.value });
    await call('POST', `/api/v1/keypads/${encodeURIComponent(name.value.trim())}/link`);
    location.reload();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
});

document.querySelector('.keypad-list')?.addEventListener('click', async (event) => {
  const { name } = event.target.closest('button') ?? {};
  if (!name) return;
  const path = `/api/v1/keypads/${encodeURIComponent(event.target.closest('tr').dataset.id)}`;
  try {
    if (name === 'renew') await call('POST', `${path}/link`);
    if (name === 'withdraw') await call('DELETE', `${path}/link`);
    if (name === 'remove') await call('DELETE', path);
    location.reload();
  } catch (error) {
    failed(error);
  }
});
