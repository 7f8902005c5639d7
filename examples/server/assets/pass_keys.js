/** The keys that sign passes: a new one, retiring one, withdrawing one with all it signed. */
import { call, toast } from './app.js';

const fill = (text, value) => text.replace('{0}', value);
/** A message that is shown once the page has come anew. */
const NEWS = 'gv-pass-keys-news';
const dialog = (id) => document.getElementById(id);
const [making, retiring, withdrawing] = ['make-dialog', 'retire-dialog', 'withdraw-dialog'].map(dialog);
let chosen;

function complain(form, error) {
  const places = [...form.querySelectorAll('.problem:not(.ends)')];
  for (const place of places) place.hidden = true;
  if (!error) return;
  const place = places.find((it) => it.dataset.for && error.code === `bad_${it.dataset.for}`) ?? places.at(-1);
  place.textContent = error.message;
  place.hidden = false;
}

function open(shown, title) {
  if (title) shown.querySelector('h2').textContent = fill(title, chosen.id);
  shown.querySelector('form').reset();
  complain(shown.querySelector('form'));
  shown.showModal();
}

function onSubmit(shown, act) {
  shown.querySelector('[value=cancel]').addEventListener('click', () => shown.close());
  const form = shown.querySelector('form');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = form.querySelector('.primary');
    button.disabled = true;
    try {
      sessionStorage.setItem(NEWS, await act(form));
      location.reload();
    } catch (error) {
      complain(form, error);
      button.disabled = false;
    }
  });
}

const make = dialog('make');
make.addEventListener('click', () => open(making));
onSubmit(making, async () => {
  const { keys } = await call('POST', '/api/v1/pass-keys', {});
  return fill(make.dataset.done, keys[0].id);
});
onSubmit(retiring, async () => {
  await call('POST', `/api/v1/pass-keys/${chosen.id}/retire`, {});
  return fill(retiring.dataset.done, chosen.id);
});
onSubmit(withdrawing, async (form) => {
  await call('POST', `/api/v1/pass-keys/${chosen.id}/withdraw`, { reason: form.elements.reason.value });
  return fill(withdrawing.dataset.done, chosen.id);
});

document.querySelector('.key-list').addEventListener('click', (event) => {
  const pressed = event.target.closest('button');
  if (!pressed) return;
  chosen = pressed.closest('tr').dataset;
  if (pressed.name === 'retire') open(retiring, retiring.dataset.title);
  if (pressed.name === 'withdraw') {
    const words = withdrawing.dataset;
    const live = Number(chosen.live);
    open(withdrawing, words.title);
    withdrawing.querySelector('.ends').textContent = live === 0 ? words.none : live === 1 ? words.one : fill(words.many, live);
    withdrawing.querySelector('.signing').hidden = chosen.state !== 'signing';
    withdrawing.querySelector('[name=reason]').focus();
  }
});

const news = sessionStorage.getItem(NEWS);
if (news) {
  sessionStorage.removeItem(NEWS);
  toast(news);
}
