/** The rules page: a plain editor with line numbers that says where a mistake is, a comparison before saving, versions to
 * go back to, and the question why. */
import { call, toast } from './app.js';
import { week } from './week.js';

const fill = (text, ...values) => values.reduce((out, value, at) => out.replace(`{${at}}`, value), text);
/** A message that is shown once the page has come anew. */
const NEWS = 'gv-rules-news';
const CHECK_AFTER_MS = 300;

const form = document.getElementById('rules');
const area = form.elements.text;
const numbers = form.querySelector('.numbers');
const verdict = document.getElementById('verdict');
const save = form.querySelector('.primary');
const undo = form.elements.undo;
const words = form.dataset;
const base = Number(words.base);
const original = area.value;
const isChanged = () => area.value !== original;

function count() {
  const lines = area.value.split('\n').length;
  if (numbers.dataset.lines !== String(lines)) {
    numbers.dataset.lines = lines;
    numbers.textContent = Array.from({ length: lines }, (_, at) => at + 1).join('\n');
  }
  numbers.scrollTop = area.scrollTop;
}

let checked;
let timer;
let turn = 0;

/** Asks what is wrong with the text and what it changes. */
async function check() {
  turn += 1;
  const mine = turn;
  const text = area.value;
  try {
    const answer = await call('POST', '/api/v1/rules/check', { text });
    if (mine !== turn) return;
    checked = { text, ...answer };
    const { fault, rules } = answer;
    verdict.className = fault ? 'problem' : 'soft';
    if (!fault) verdict.textContent = fill(words.right, rules);
    else if (fault.line) verdict.textContent = fill(words.wrong, fault.line, fault.column, fault.message);
    else verdict.textContent = fault.message;
    verdict.dataset.line = fault?.line ?? '';
    verdict.dataset.column = fault?.column ?? '';
    save.disabled = Boolean(fault) || !isChanged();
  } catch (error) {
    verdict.className = 'problem';
    verdict.textContent = error.message;
  }
}

function edited() {
  count();
  undo.disabled = !isChanged();
  save.disabled = true;
  document.querySelector('#ask .draft').hidden = !isChanged();
  clearTimeout(timer);
  timer = setTimeout(check, CHECK_AFTER_MS);
}

area.addEventListener('input', edited);
area.addEventListener('scroll', () => { numbers.scrollTop = area.scrollTop; });
area.addEventListener('keydown', (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === 's') {
    event.preventDefault();
    form.requestSubmit();
  }
});
// A mistake is gone to by a click on what is said about it.
verdict.addEventListener('click', () => {
  const { line, column } = verdict.dataset;
  if (!line) return;
  const before = area.value.split('\n').slice(0, line - 1).join('\n').length + (line > 1 ? 1 : 0);
  area.focus();
  area.setSelectionRange(before + Number(column) - 1, before + Number(column));
});
undo.addEventListener('click', () => {
  area.value = original;
  edited();
});
addEventListener('beforeunload', (event) => { if (isChanged() && !form.dataset.done) event.preventDefault(); });

// Comparing, saving, going back ---------------------------------------------------------------------------------------

const dialog = document.getElementById('diff-dialog');
const does = dialog.querySelector('.primary');
const problem = dialog.querySelector('.problem');
let pending;
dialog.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());

/** How many lines that stay are shown around what changes. */
const AROUND = 3;

function compare(lines) {
  const out = dialog.querySelector('.diff');
  out.replaceChildren();
  let hidden = false;
  for (const [at, { kind, text }] of lines.entries()) {
    const isNear = lines.slice(Math.max(0, at - AROUND), at + AROUND + 1).some((line) => line.kind !== 'same');
    const row = document.createElement('span');
    if (isNear) {
      row.className = kind;
      row.textContent = `${{ same: ' ', removed: '−', added: '+' }[kind]} ${text}\n`;
      out.append(row);
    } else if (!hidden) {
      row.className = 'same';
      row.textContent = '⋯\n';
      out.append(row);
    }
    hidden = !isNear;
  }
}

function confirm(title, action, lines, content) {
  pending = content;
  problem.hidden = true;
  does.disabled = false;
  dialog.querySelector('h2').textContent = title;
  does.textContent = action;
  compare(lines);
  dialog.showModal();
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (!isChanged()) return toast(words.same);
  if (checked?.text !== area.value) await check();
  if (checked?.text !== area.value || checked.fault) return undefined;
  return confirm(dialog.dataset.save, dialog.dataset.doSave, checked.diff, { text: area.value, base });
});

dialog.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  does.disabled = true;
  try {
    await call('PUT', '/api/v1/rules', pending);
    form.dataset.done = 'yes';
    sessionStorage.setItem(NEWS, words.saved);
    location.reload();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    does.disabled = false;
  }
});

document.querySelector('.versions').addEventListener('click', async (event) => {
  const button = event.target.closest('[data-version]');
  if (!button) return;
  try {
    const { id, text, diff } = await call('GET', `/api/v1/rules/versions/${button.dataset.version}`);
    confirm(fill(dialog.dataset.restore, id), dialog.dataset.doRestore, diff, { text, base, restored: id });
  } catch (error) {
    toast(error.message, true);
  }
});

// Why? ----------------------------------------------------------------------------------------------------------------

const ask = document.getElementById('ask');
const two = (number) => String(number).padStart(2, '0');
const now = new Date();
ask.elements.at.value = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}T${two(now.getHours())}:${two(now.getMinutes())}`;

/** Everybody who could enter then. */
ask.elements.who.addEventListener('click', async () => {
  const { door, kind, at, draft } = ask.elements;
  const wrong = ask.querySelector('.problem');
  const place = document.getElementById('answer');
  wrong.hidden = true;
  try {
    const { people, more, of } = await call('POST', '/api/v1/rules/who', {
      door: door.value, kind: kind.value,
      at: at.value ? new Date(at.value).toISOString() : null,
      text: isChanged() && draft.checked ? area.value : null,
    });
    const head = document.createElement('p');
    head.className = people.length ? 'said admit' : 'said';
    head.textContent = people.length ? fill(place.dataset.some, people.length + more, of) : fill(place.dataset.nobody, of);
    const list = document.createElement('ol');
    for (const { person, title, rule } of people) {
      const item = document.createElement('li');
      const name = document.createElement('strong');
      name.textContent = title || person;
      item.append(name, rule ? ` · ${rule}` : '');
      list.append(item);
    }
    if (more) list.append(Object.assign(document.createElement('li'), { className: 'soft', textContent: fill(place.dataset.more, more) }));
    place.replaceChildren(head, list);
  } catch (error) {
    wrong.textContent = error.message;
    wrong.hidden = false;
  }
});

ask.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { person, door, kind, at, draft } = ask.elements;
  const wrong = ask.querySelector('.problem');
  wrong.hidden = true;
  try {
    const answer = await call('POST', '/api/v1/rules/explain', {
      person: person.value, door: door.value, kind: kind.value,
      at: at.value ? new Date(at.value).toISOString() : null,
      text: isChanged() && draft.checked ? area.value : null,
    });
    const head = document.createElement('p');
    head.className = `said ${answer.verdict}`;
    const strong = document.createElement('strong');
    strong.textContent = ask.dataset[answer.verdict];
    head.append(strong, ` · ${answer.reason_text}${answer.rule ? ` (${answer.rule})` : ''}`);
    const list = document.createElement('ol');
    // Rules that apply come first, then those that miss by little.
    const order = [...answer.rules].sort((a, b) => a.why_not.length - b.why_not.length);
    for (const rule of order.slice(0, 50)) {
      const item = document.createElement('li');
      item.className = rule.applies ? rule.effect : 'soft';
      const name = document.createElement('strong');
      name.textContent = rule.rule;
      item.append(name, ` ${rule.text}`);
      list.append(item);
    }
    const hours = document.createElement('figure');
    const place = document.getElementById('answer');
    hours.append(Object.assign(document.createElement('figcaption'), { className: 'soft', textContent: answer.week.length ? place.dataset.week : place.dataset.never }));
    if (answer.week.length) hours.append(week(answer.week, document.getElementById('form-words').dataset));
    place.replaceChildren(head, hours, list);
  } catch (error) {
    wrong.textContent = error.message;
    wrong.hidden = false;
  }
});

edited();
const news = sessionStorage.getItem(NEWS);
if (news) {
  sessionStorage.removeItem(NEWS);
  toast(news);
}
