/** Doors, for administrators: forms made of what the server says a door and its relay have. A relay's password goes in and
 * never comes back. */
import { call, failed, toast } from './app.js';
import { form as drawForm } from './form.js';
import { relayForm } from './relay_form.js';

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
let drawn;
let relays;
let drivers;

function complain(error) {
  for (const problem of form.querySelectorAll('.problem')) problem.hidden = true;
  if (!error) return;
  // "key: what is wrong" goes to its field.
  const [, key, rest] = /^([a-z_.0-9]+): (.*)$/s.exec(error.message) ?? [];
  const place = key && form.querySelector(`.problem[data-for="${CSS.escape(key)}"]`);
  const problem = place ?? form.querySelector('.problem[data-for=""]');
  problem.textContent = place ? rest : error.message;
  problem.hidden = false;
  problem.scrollIntoView({ block: 'nearest' });
}

function draw(setup) {
  const { fields: described, relay } = setup;
  const rest = described.filter(({ name }) => name !== 'relay').map((it) => ({ ...it, key: it.name, about: `${it.about}.` }));
  const values = Object.fromEntries(rest.filter(({ value }) => value !== null).map(({ key, value }) => [key, value]));
  drawn = drawForm(fields, rest, values);
  const isSet = described.some(({ name, is_set: isSet }) => name === 'relay' && isSet);
  relays = relayForm(dialog.querySelector('.relay'), drivers, relay, isSet, words);
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
    drivers ??= (await call('GET', '/api/v1/relay-drivers')).drivers;
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

/** What is sent of the relay: an address as a parameter, or the form of one beside them. */
function asked() {
  const relay = relays.value();
  return typeof relay === 'string' ? { params: { ...drawn.values(), relay } } : { params: drawn.values(), relay };
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
    await call('PUT', `${address(name || ' ')}/setup`, { ...asked(), sources: chosen });
    again(fill(words.saved, name));
  } catch (error) {
    complain(error.code === 'bad_name' ? { message: `name: ${error.message}` } : error);
    save.disabled = false;
  }
});

async function speak(event, path, said) {
  complain();
  reading.textContent = said.asking;
  event.target.disabled = true;
  const { params, relay } = asked();
  try {
    const told = await call('POST', path, { door: edited ?? null, relay: params.relay ?? relay ?? null, channel: params.channel ?? null });
    reading.textContent = fill(told.is_on ? said.on : said.off, told.driver, told.took_ms, told.timed_by_device ? words.device : words.host);
  } catch (error) {
    reading.textContent = '';
    complain(error);
  } finally {
    event.target.disabled = false;
  }
}

form.querySelector('[name=read]').addEventListener('click', (event) => speak(event, '/api/v1/relay-status', words));

/** A button that is asked once more before it acts. */
function unsure(button) {
  delete button.dataset.sure;
  button.textContent = button.dataset.first;
}
const tries = form.querySelector('[name=try]');
tries.dataset.first = tries.textContent;
tries.addEventListener('click', async (event) => {
  if (tries.dataset.sure !== 'yes') {
    tries.dataset.sure = 'yes';
    tries.textContent = words.trySure;
    return;
  }
  unsure(tries);
  await speak(event, '/api/v1/relay-test', { asking: words.trying, on: words.tried, off: words.tried });
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
  unsure(tries);
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
