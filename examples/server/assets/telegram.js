/** The Telegram page: set up the bot, bind people by a code, choose what they are told, try it out. */
import { call, failed, toast } from './app.js';

const words = document.getElementById('telegram-words').dataset;
const path = (person, rest = '') => `/api/v1/telegram/people/${encodeURIComponent(person)}${rest}`;

function complain(form, error) {
  for (const problem of form.querySelectorAll('.problem')) problem.hidden = true;
  if (!error) return;
  const field = /^(token|api): /.exec(error.message)?.[1] ?? '';
  const place = form.querySelector(`.problem[data-for="${field}"]`) ?? form.querySelector('.problem[data-for=""]');
  place.textContent = error.message;
  place.hidden = false;
}

function open(id) {
  const dialog = document.getElementById(id);
  const form = dialog.querySelector('form');
  form.reset();
  complain(form);
  dialog.showModal();
  form.querySelector('input')?.focus();
}

for (const dialog of document.querySelectorAll('dialog')) {
  dialog.querySelector('button[type=button][value=cancel]')?.addEventListener('click', () => dialog.close());
}
document.getElementById('set-up').addEventListener('click', () => open('set-up-dialog'));
document.getElementById('invite')?.addEventListener('click', () => open('invite-dialog'));
document.getElementById('remove')?.addEventListener('click', async () => {
  if (!confirm(words.remove)) return;
  try {
    await call('DELETE', '/api/v1/telegram');
    location.reload();
  } catch (error) {
    failed(error);
  }
});

const setUp = document.querySelector('#set-up-dialog form');
setUp.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { token, api } = setUp.elements;
  try {
    await call('PUT', '/api/v1/telegram', { token: token.value.trim() || null, api: api.value.trim() || null });
    location.reload();
  } catch (error) {
    complain(setUp, error);
  }
});

const invite = document.querySelector('#invite-dialog form');
invite.addEventListener('submit', async (event) => {
  event.preventDefault();
  const notices = [...invite.querySelectorAll('[name=notices]:checked')].map(({ value }) => value);
  try {
    const { code, link } = await call('POST', path(invite.elements.person.value.trim(), '/code'), { notices });
    document.getElementById('invite-dialog').close();
    const dialog = document.getElementById('code-dialog');
    dialog.querySelector('.code-text').textContent = `/start ${code}`;
    const anchor = dialog.querySelector('.code-link');
    anchor.hidden = !link;
    if (link) anchor.href = link;
    dialog.showModal();
    dialog.addEventListener('close', () => location.reload(), { once: true });
  } catch (error) {
    complain(invite, error);
  }
});

const list = document.querySelector('.telegram-list');
list?.addEventListener('change', async (event) => {
  const row = event.target.closest('tr');
  const notices = [...row.querySelectorAll('.notices input:checked')].map(({ name }) => name);
  try {
    await call('PUT', path(row.dataset.id), { notices });
  } catch (error) {
    failed(error);
  }
});
list?.addEventListener('click', async (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const person = button.closest('tr').dataset.id;
  try {
    if (button.name === 'test') {
      button.disabled = true;
      const { is_said: isSaid, problem } = await call('POST', path(person, '/test'));
      toast(isSaid ? words.said : problem, !isSaid);
      button.disabled = false;
    }
    if (button.name === 'unbind' && confirm(words.unbind.replace('{0}', person))) {
      await call('DELETE', path(person));
      location.reload();
    }
  } catch (error) {
    button.disabled = false;
    failed(error);
  }
});
