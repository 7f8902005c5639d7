/** The plates page, for administrators: add and edit in a dialog, delete with a way back, import a file. */
import { call, failed, toast } from './app.js';

const dialog = document.getElementById('plate-dialog');
const form = dialog.querySelector('form');
const words = dialog.dataset;
const fill = (text, value) => text.replace('{0}', value);
const address = (plate) => `/api/v1/plates/${encodeURIComponent(plate)}`;
/** A message that is shown once the page has come anew. */
const NEWS = 'gv-plates-news';

const two = (number) => String(number).padStart(2, '0');
const localDay = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
/** The beginning of a day in the reader's zone, `days` later. */
const dayStart = (text, days = 0) => {
  const [year, month, day] = text.split('-').map(Number);
  return new Date(year, month - 1, day + days).toISOString();
};

/** The plate that is being edited: it may be given another text, and is then another one. */
let edited;

function open(row) {
  edited = row?.plate;
  form.reset();
  complain();
  dialog.querySelector('h2').textContent = row ? fill(words.edit, row.plate) : words.add;
  const { plate, owner, note, standing, from, to } = form.elements;
  if (row) {
    [plate.value, owner.value, note.value, standing.value] = [row.plate, row.owner, row.note, row.standing];
    if (row.from) from.value = localDay(new Date(row.from));
    // The period ends before this moment: its last day is the one that holds the moment before.
    if (row.to) to.value = localDay(new Date(new Date(row.to).getTime() - 1));
  }
  plate.readOnly = Boolean(row);
  dialog.showModal();
  (row ? owner : plate).focus();
}

/** Says what is wrong at the field it is about. */
function complain(field, message) {
  for (const problem of form.querySelectorAll('.problem')) {
    problem.hidden = !message || problem.dataset.for !== field;
    if (!problem.hidden) problem.textContent = message;
  }
  for (const input of form.elements) input.toggleAttribute?.('aria-invalid', Boolean(message) && input.name === field);
  if (message) form.elements[field]?.focus?.();
}

function again(news) {
  if (news) sessionStorage.setItem(NEWS, news);
  location.reload();
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { plate, owner, note, standing, from, to } = form.elements;
  const save = form.querySelector('.primary');
  save.disabled = true;
  try {
    const content = {
      owner: owner.value, note: note.value, standing: standing.value,
      from: from.value ? dayStart(from.value) : null, to: to.value ? dayStart(to.value, 1) : null,
    };
    const saved = await call('PUT', address(edited ?? (plate.value.trim() || '-')), content);
    again(fill(words.saved, saved.plate));
  } catch (error) {
    const field = error.code?.replace(/^bad_/, '') ?? '';
    complain(form.querySelector(`.problem[data-for="${CSS.escape(field)}"]`) ? field : '', error.message);
    save.disabled = false;
  }
});
form.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());

document.getElementById('add').addEventListener('click', () => open());

async function remove(row, button) {
  button.disabled = true;
  try {
    const { plate, ...content } = await call('DELETE', address(row.dataset.plate));
    row.hidden = true;
    toast(fill(words.deleted, plate), false, {
      title: words.undo,
      act: async () => {
        try {
          await call('PUT', address(plate), content);
          row.hidden = false;
          button.disabled = false;
          toast(fill(words.restored, plate));
        } catch (error) {
          failed(error);
        }
      },
    });
  } catch (error) {
    failed(error);
    button.disabled = false;
  }
}

document.querySelector('table.plates')?.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  const row = button?.closest('tr');
  if (button?.name === 'edit') open(row.dataset);
  if (button?.name === 'delete') remove(row, button);
});

document.getElementById('import').addEventListener('change', async (event) => {
  const [file] = event.target.files;
  event.target.value = '';
  if (!file) return;
  try {
    const { plates } = await call('POST', '/api/v1/plates/import', await file.text(), 'text/csv');
    again(fill(words.imported, plates));
  } catch (error) {
    failed(error);
  }
});

const news = sessionStorage.getItem(NEWS);
if (news) {
  sessionStorage.removeItem(NEWS);
  toast(news);
}
