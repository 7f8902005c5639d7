/** Doors, for administrators: a form made of what the server says a door has. A relay's address goes in and never comes back. */
import { call, failed, toast } from './app.js';

const dialog = document.getElementById('setup-dialog');
const form = dialog.querySelector('form');
const words = dialog.dataset;
const fields = form.querySelector('.fields');
const sources = form.querySelector('.sources');
const reading = form.querySelector('.reading');
const fill = (text, ...values) => values.reduce((out, value, at) => out.replace(`{${at}}`, value), text);
/** A message that is shown once the page has come anew. */
const NEWS = 'gv-doors-news';
let edited;

function complain(error) {
  for (const problem of form.querySelectorAll('.problem')) problem.hidden = true;
  if (!error) return;
  // "key: what is wrong" goes to its field.
  const [, key, rest] = /^([a-z_]+): (.*)$/s.exec(error.message) ?? [];
  const place = key && form.querySelector(`.problem[data-for="${CSS.escape(key)}"]`);
  const problem = place ?? form.querySelector('.problem[data-for=""]');
  problem.textContent = place ? rest : error.message;
  problem.hidden = false;
  problem.scrollIntoView({ block: 'nearest' });
}

function input({ name, kind, min, max, choices, value, default: usual, required, is_set: isSet }) {
  if (kind === 'choice') {
    const select = document.createElement('select');
    select.append(...choices.map((choice) => new Option(choice, choice)));
    select.value = value ?? usual ?? choices[0];
    return select;
  }
  const made = document.createElement('input');
  made.spellcheck = false;
  made.autocomplete = 'off';
  if (kind === 'flag') {
    made.type = 'checkbox';
    made.checked = value ?? usual ?? false;
  } else if (['integer', 'number', 'seconds'].includes(kind)) {
    made.type = 'number';
    made.step = kind === 'integer' ? 1 : 'any';
    [made.min, made.max] = [min, max];
    made.value = value ?? '';
    made.placeholder = usual ?? '';
  } else if (kind === 'secret') {
    made.type = 'password';
    made.autocomplete = 'new-password';
    made.placeholder = isSet ? words.kept : '';
  } else {
    made.value = (Array.isArray(value) ? value.join(', ') : value) ?? '';
    made.placeholder = (Array.isArray(usual) ? usual.join(', ') : usual) ?? '';
  }
  made.required = required && !isSet;
  made.dataset.name = name;
  return made;
}

function draw(setup) {
  fields.replaceChildren(...setup.fields.flatMap((it) => {
    const made = input(it);
    made.name = `param:${it.name}`;
    made.dataset.kind = it.kind;
    made.dataset.key = it.name;
    const label = document.createElement('label');
    const about = document.createElement('span');
    about.textContent = `${it.name}: ${it.about}`;
    if (it.kind === 'flag') {
      label.className = 'tick';
      label.append(made, about);
    } else {
      label.append(about, made);
    }
    const problem = document.createElement('p');
    problem.className = 'problem';
    problem.dataset.for = it.name;
    problem.hidden = true;
    return [label, problem];
  }));
  sources.replaceChildren(...setup.sources.map(({ output, linked }) => {
    const label = document.createElement('label');
    label.className = 'tick';
    const tick = Object.assign(document.createElement('input'), { type: 'checkbox', checked: linked, value: output });
    const text = document.createElement('span');
    text.textContent = output;
    label.append(tick, text);
    return label;
  }));
  form.querySelector('.sourced').hidden = !setup.sources.length;
}

async function open(id, path) {
  edited = id;
  complain();
  reading.textContent = '';
  form.reset();
  try {
    draw(await call('GET', id ? `/api/v1/doors/${path}/setup` : '/api/v1/door-setup'));
  } catch (error) {
    return failed(error);
  }
  dialog.querySelector('h2').textContent = id ? fill(words.edit, id) : words.add;
  form.elements.name.value = id ?? '';
  form.elements.name.readOnly = Boolean(id);
  form.querySelector('[name=remove]').hidden = !id;
  dialog.showModal();
  return undefined;
}

function params() {
  const all = {};
  for (const it of fields.querySelectorAll('[data-key]')) {
    const { key, kind } = it.dataset;
    if (kind === 'flag') all[key] = it.checked;
    else if (it.value.trim() === '') all[key] = null;
    else if (['integer', 'number', 'seconds'].includes(kind)) all[key] = Number(it.value);
    else if (kind === 'texts') all[key] = it.value.split(',').map((text) => text.trim()).filter(Boolean);
    else all[key] = it.value;
  }
  return all;
}

function again(news) {
  sessionStorage.setItem(NEWS, news);
  location.reload();
}

const address = (name) => `/api/v1/doors/${encodeURIComponent(name)}`;

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  complain();
  const save = form.querySelector('.primary');
  save.disabled = true;
  const name = edited ?? form.elements.name.value.trim();
  try {
    const chosen = [...sources.querySelectorAll('input:checked')].map((it) => it.value);
    await call('PUT', `${address(name || ' ')}/setup`, { params: params(), sources: chosen });
    again(fill(words.saved, name));
  } catch (error) {
    complain(error.code === 'bad_name' ? { message: `name: ${error.message}` } : error);
    save.disabled = false;
  }
});

form.querySelector('[name=read]').addEventListener('click', async (event) => {
  complain();
  reading.textContent = words.asking;
  event.target.disabled = true;
  const { relay, channel } = params();
  try {
    const told = await call('POST', '/api/v1/relay-status', { door: edited ?? null, relay: relay ?? null, channel: channel ?? null });
    reading.textContent = fill(told.is_on ? words.on : words.off, told.driver, told.took_ms, told.timed_by_device ? words.device : words.host);
  } catch (error) {
    reading.textContent = '';
    complain(error);
  } finally {
    event.target.disabled = false;
  }
});

form.querySelector('[name=remove]').addEventListener('click', async (event) => {
  const button = event.target;
  // Asked for once more, on the button itself.
  if (button.dataset.sure !== 'yes') {
    button.dataset.sure = 'yes';
    button.textContent = words.sure;
    return;
  }
  try {
    await call('DELETE', address(edited));
    again(fill(words.removed, edited));
  } catch (error) {
    complain(error);
  }
});
dialog.addEventListener('close', () => {
  const button = form.querySelector('[name=remove]');
  delete button.dataset.sure;
  button.textContent = words.remove;
});
form.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-setup]');
  if (button) open(button.dataset.setup || undefined, button.dataset.path);
});

const news = sessionStorage.getItem(NEWS);
if (news) {
  sessionStorage.removeItem(NEWS);
  toast(news);
}
