/**
 * Commands of the premises: a button says what it sends (`data-command`, `data-url`, `data-body` or `data-key` and
 * `data-value`) and, if it asks first, what will happen (`data-title`, `data-says`, `data-act`).
 */
import { call, failed, refresh, toast } from './app.js';

const dialog = document.getElementById('command');
const problem = dialog?.querySelector('.problem');
let chosen;

function send(button) {
  const { command, url, body, key, value, done } = button.dataset;
  const content = key ? { [key]: value } : body && JSON.parse(body);
  return call(command, url, content).then(async () => {
    toast(done);
    await refresh();
  });
}

document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-command]');
  if (!button) return;
  // The button itself may be gone by the time somebody has read what will happen.
  chosen = button.cloneNode();
  if (button.dataset.says) {
    dialog.querySelector('h2').textContent = button.dataset.title;
    dialog.querySelector('.says').textContent = button.dataset.says;
    dialog.querySelector('[value=act]').textContent = button.dataset.act;
    problem.hidden = true;
    dialog.showModal();
    dialog.querySelector('[value=cancel]').focus();
    return;
  }
  button.disabled = true;
  await send(chosen).catch(failed);
  button.disabled = false;
});

dialog?.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());
dialog?.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const act = dialog.querySelector('[value=act]');
  act.disabled = true;
  try {
    await send(chosen);
    dialog.close();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  } finally {
    act.disabled = false;
  }
});
