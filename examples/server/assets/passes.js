/** The passes page: make one, show its code, link and card, withdraw it. */
import { call, failed, toast } from './app.js';

const fill = (text, value) => text.replace('{0}', value);
/** The pass that is shown once the page has come anew. */
const MADE = 'gv-pass-made';

function complain(form, error) {
  const field = error?.code?.replace(/^bad_/, '') ?? '';
  for (const problem of form.querySelectorAll('.problem')) problem.hidden = true;
  if (!error) return;
  const place = form.querySelector(`.problem[data-for="${CSS.escape(field)}"]`) ?? form.querySelector('.problem[data-for=""]');
  place.textContent = error.message;
  place.hidden = false;
}

for (const dialog of document.querySelectorAll('dialog')) {
  dialog.querySelector('button[type=button][value=cancel]')?.addEventListener('click', () => dialog.close());
}

// Make --------------------------------------------------------------------------------------------------------------

const making = document.getElementById('make-dialog');
const form = making.querySelector('form');
const local = (moment) => {
  const shifted = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
};

document.getElementById('make').addEventListener('click', () => {
  form.reset();
  complain(form);
  const now = new Date();
  form.elements.from.value = local(now);
  form.elements.until.value = local(new Date(now.getTime() + 24 * 3600_000));
  const doors = [...form.querySelectorAll('[name=doors]')];
  // The only door is meant.
  if (doors.length === 2) doors[1].checked = true;
  making.showModal();
  form.elements.person.focus();
});

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { person, from, until, uses } = form.elements;
  const doors = [...form.querySelectorAll('[name=doors]:checked')].map(({ value }) => value);
  const moment = (input) => (input.value ? new Date(input.value).toISOString() : null);
  const save = form.querySelector('.primary');
  save.disabled = true;
  try {
    const made = await call('POST', '/api/v1/passes', {
      person: person.value.trim() || null,
      doors: doors.includes('any') ? ['any'] : doors,
      from: moment(from),
      until: moment(until),
      uses: uses.value ? Number(uses.value) : null,
    });
    sessionStorage.setItem(MADE, made.id);
    location.assign('/passes');
  } catch (error) {
    complain(form, error);
    save.disabled = false;
  }
});

// Show --------------------------------------------------------------------------------------------------------------

const showing = document.getElementById('show-dialog');

async function show({ id, whose }) {
  try {
    const { link } = await call('GET', `/api/v1/passes/${id}`);
    const code = `/api/v1/passes/${id}/qr`;
    showing.querySelector('h2').textContent = fill(showing.dataset.title, whose);
    showing.querySelector('.code').src = code;
    showing.querySelector('[name=link]').value = location.origin + link;
    showing.querySelector('[data-card]').href = `/api/v1/passes/${id}/card`;
    Object.assign(showing.querySelector('[data-png]'), { href: code, download: `pass-${id}.png` });
    showing.showModal();
  } catch (error) {
    failed(error);
  }
}

showing.querySelector('[name=copy]').addEventListener('click', async () => {
  const input = showing.querySelector('[name=link]');
  input.select();
  // Without TLS a browser has no clipboard for scripts; what is selected can be copied by hand.
  await navigator.clipboard?.writeText(input.value).then(() => toast(showing.dataset.copied)).catch(() => {});
});

// Withdraw ----------------------------------------------------------------------------------------------------------

const withdrawing = document.getElementById('withdraw-dialog');
const why = withdrawing.querySelector('form');
let chosen;

why.addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    await call('POST', `/api/v1/passes/${chosen}/withdraw`, { reason: why.elements.reason.value });
    location.reload();
  } catch (error) {
    complain(why, error);
  }
});

document.querySelector('.pass-list')?.addEventListener('click', (event) => {
  const pressed = event.target.closest('button');
  const row = pressed?.closest('tr');
  if (pressed?.name === 'show') show(row.dataset);
  if (pressed?.name === 'withdraw') {
    chosen = row.dataset.id;
    withdrawing.querySelector('h2').textContent = fill(withdrawing.dataset.title, row.dataset.whose);
    why.reset();
    complain(why);
    withdrawing.showModal();
    why.elements.reason.focus();
  }
});

const made = sessionStorage.getItem(MADE);
if (made) {
  sessionStorage.removeItem(MADE);
  const row = document.querySelector(`tr[data-id="${CSS.escape(made)}"]`);
  if (row) show(row.dataset);
}
