/** The rules as forms: every record of the document, made of what the server says a document has. A form changes the text
 * beside it, so comparing, saving and going back are those of the text. */
import { call, failed } from './app.js';
import { form, label, presented, said } from './form.js';
import { week } from './week.js';

const area = document.querySelector('#rules textarea');
const tabs = [...document.querySelectorAll('.views [role=tab]')];
const panes = Object.fromEntries(tabs.map((tab) => [tab.dataset.view, document.getElementById(tab.getAttribute('aria-controls'))]));
const records = panes.forms;
const dialog = document.getElementById('record-dialog');
const words = dialog.dataset;
const formWords = document.getElementById('form-words').dataset;
const fill = (text, ...values) => values.reduce((out, value, at) => out.replace(`{${at}}`, value), text);
const VIEW = 'gv-rules-view';
let shown;
let drawn;
let edited;

const make = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

// Two views of one document ----------------------------------------------------------------------------------------------

function view(name) {
  for (const tab of tabs) {
    const isIt = tab.dataset.view === name;
    tab.setAttribute('aria-selected', isIt);
    tab.tabIndex = isIt ? 0 : -1;
    panes[tab.dataset.view].hidden = !isIt;
  }
  localStorage.setItem(VIEW, name);
  if (name === 'forms') draw();
  // Line numbers are measured where they are seen.
  else area.dispatchEvent(new Event('scroll'));
}
for (const tab of tabs) {
  tab.addEventListener('click', () => view(tab.dataset.view));
  tab.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    view(next.dataset.view);
    next.focus();
  });
}

// The records --------------------------------------------------------------------------------------------------------------

/** What stands at a field, for people. */
function told(field, value) {
  if (field.kind === 'intervals') return [week(value, formWords)];
  if (Array.isArray(value)) {
    const name = field.kind === 'by' ? presented : said;
    return value.map((one) => make('span', { className: 'chip', textContent: name(one) }));
  }
  const text = typeof value === 'boolean' ? formWords[value] : field.kind === 'moment' ? value.replace('T', ' ') : String(value);
  return [make('span', { className: 'value', textContent: text })];
}

function row(table, record, at) {
  const name = record.name ?? record.values.name ?? (table.shape === 'list' ? `${at + 1}` : table.title);
  const facts = make('div', { className: 'facts' });
  for (const field of table.fields) {
    const value = record.values[field.key];
    if (value === undefined || field.key === 'name' || field.key === 'version') continue;
    const fact = make('div', { className: `fact of-${field.key}` }, make('span', { className: 'key', textContent: label(field.key) }), ...told(field, value));
    facts.append(fact);
  }
  if (!facts.childElementCount) facts.append(make('span', { className: 'soft', textContent: words.plain }));
  const title = ['top', 'table'].includes(table.shape) ? [] : [make('strong', { textContent: name })];
  const button = make('button', { type: 'button', className: 'record' }, ...title, facts);
  button.setAttribute('aria-label', fill(words.edit, name));
  button.addEventListener('click', () => open(table, at));
  return make('li', {}, button);
}

function section(table) {
  const isMany = !['top', 'table'].includes(table.shape);
  const isMissing = !isMany && !table.records.length;
  const count = make('span', { className: 'soft', textContent: isMany ? String(table.records.length) : '' });
  const summary = make('summary', {}, make('h3', { textContent: table.title }), count);
  const add = make('button', { type: 'button', textContent: isMany ? words.add : words.set });
  add.addEventListener('click', () => open(table, undefined));
  add.setAttribute('aria-label', `${add.textContent}: ${table.title}`);
  add.dataset.addTo = table.table;
  const list = make('ol', { className: 'records' }, ...table.records.map((record, at) => row(table, record, at)));
  const out = make('details', { open: table.table === 'rule' || table.records.length > 0 }, summary, make('p', { className: 'soft', textContent: table.about }), list);
  out.dataset.table = table.table;
  if (isMany || isMissing) out.append(add);
  return out;
}

async function draw() {
  const text = area.value;
  if (drawn === text) return;
  try {
    shown = await call('POST', '/api/v1/rules/form', { text });
    drawn = text;
  } catch (error) {
    return failed(error);
  }
  if (shown.fault) {
    records.replaceChildren(make('p', { className: 'problem', textContent: `${words.broken} ${shown.fault.message}` }));
    return undefined;
  }
  const isOpen = new Map([...records.querySelectorAll('details')].map((it) => [it.dataset.table, it.open]));
  const order = (table) => ['rule', 'groups', 'schedules', 'holidays'].indexOf(table.table) + 1 || 9;
  const sections = [...shown.tables].sort((a, b) => order(a) - order(b)).map(section);
  for (const it of sections) it.open = isOpen.get(it.dataset.table) ?? it.open;
  records.replaceChildren(...sections);
  return undefined;
}

// One record ---------------------------------------------------------------------------------------------------------------

const title = dialog.querySelector('h2');
const called = dialog.querySelector('.called');
const nameInput = called.querySelector('input');
const rest = dialog.querySelector('.problem.rest');
const remove = dialog.querySelector('[name=remove]');
const does = dialog.querySelector('.primary');
dialog.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());

function open(table, at) {
  const record = at === undefined ? undefined : table.records[at];
  const isNamed = table.shape.startsWith('named');
  const name = record?.name ?? record?.values.name;
  title.textContent = record ? name ?? table.title : fill(words.new, table.title);
  dialog.querySelector('.about-record').textContent = table.about;
  called.hidden = !isNamed;
  nameInput.value = record?.name ?? '';
  // Others speak of it by this name.
  nameInput.readOnly = Boolean(record);
  nameInput.setAttribute('list', table.table === 'doors' ? 'doors' : '');
  remove.hidden = !record || table.shape === 'top';
  remove.textContent = words.remove;
  delete remove.dataset.sure;
  const fields = table.fields.filter((field) => field.key !== 'version');
  edited = { table, at, isNamed, ...form(dialog.querySelector('.fields'), fields, record?.values, shown.names) };
  complain();
  does.disabled = false;
  dialog.showModal();
  (isNamed && !record ? nameInput : dialog.querySelector('.fields input, .fields select'))?.focus();
}

function complain(fault) {
  rest.hidden = true;
  const ownProblem = called.querySelector('.problem');
  ownProblem.hidden = true;
  edited.complain();
  if (!fault) return;
  // "rule night, doors: what is wrong": the field says the first part.
  const message = fault.key ? fault.message.replace(/^[^:]*: /, fault.line ? '' : '$&') : fault.message;
  const isHere = fault.table === edited.table.table && (fault.line === null || edited.at === undefined || fault.at === edited.at);
  if (isHere && fault.key === 'name' && edited.isNamed) {
    [ownProblem.textContent, ownProblem.hidden] = [message, false];
    nameInput.focus();
  } else if (!isHere || !edited.complain(fault.key, message)) {
    rest.textContent = fault.message;
    rest.hidden = false;
    rest.scrollIntoView({ block: 'nearest' });
  }
}

async function send(values) {
  const { table, at } = edited;
  const answer = await call('POST', '/api/v1/rules/edit', {
    text: area.value, table: table.table, at, name: edited.isNamed ? nameInput.value : undefined, values,
  });
  if (answer.fault) {
    complain(answer.fault);
    return;
  }
  area.value = answer.text;
  area.dispatchEvent(new Event('input'));
  dialog.close();
  await draw();
  records.querySelector(`[data-table="${CSS.escape(table.table)}"]`).open = true;
}

dialog.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  does.disabled = true;
  try {
    await send(edited.at === undefined ? edited.values() : edited.changed());
  } catch (error) {
    complain({ message: error.message });
  } finally {
    does.disabled = false;
  }
});

remove.addEventListener('click', async () => {
  // Asked for once more, on the button itself.
  if (remove.dataset.sure !== 'yes') {
    remove.dataset.sure = 'yes';
    remove.textContent = words.sure;
    return;
  }
  try {
    await send(undefined);
  } catch (error) {
    complain({ message: error.message });
  }
});

// What is taken back in the text is taken back here.
document.querySelector('#rules [name=undo]').addEventListener('click', () => panes.forms.hidden || draw());
view(localStorage.getItem(VIEW) === 'text' ? 'text' : 'forms');
