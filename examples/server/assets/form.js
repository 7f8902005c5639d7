/**
 * Forms made of a description: one control for each kind of field, whatever table, door or relay it is of.
 *
 * A field is {key, kind, about, required, one_of, choices, min, max, default, example, is_set}. Nothing here knows a table: a field
 * of a new kind is shown as a text. What stands in a form and was not touched is not sent, so its owner's spelling stays.
 */
import { intervals } from './week.js';

const words = document.getElementById('form-words').dataset;
const fill = (text, ...values) => values.reduce((out, value, at) => out.replace(`{${at}}`, value), text);
const make = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
let last = 0;
const fresh = (what) => `${what}-${++last}`;

/** `held_after` as people read it. */
export const label = (key) => {
  const text = key.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
};

/** `group:staff` as people read it. */
export function said(text) {
  if (text === 'anyone') return words.anyone;
  if (text === 'any') return words.any;
  return text.startsWith('group:') ? fill(words.group, text.slice(6)) : text;
}

/** `face+pin` as people read it. */
export const presented = (text) => text.split('+').map((one) => words[`by${label(one)}`] ?? one).join(' + ');

// What may be chosen -----------------------------------------------------------------------------------------------------

const groups = (names) => (names ?? []).map((name) => `group:${name}`);
const pairs = (kinds) => kinds.flatMap((one, at) => kinds.slice(at + 1).map((other) => `${one}+${other}`));

/** The texts that a field offers. */
function offered({ kind, choices }, names) {
  switch (kind) {
    case 'persons': return names.persons;
    case 'doors': return names.doors;
    case 'subjects': return ['anyone', ...groups(names.groups), ...(names.persons ?? [])];
    case 'door_sets': return ['any', ...groups(names.door_groups), ...(names.doors ?? [])];
    case 'by': return [...choices, ...pairs(choices)];
    case 'schedule': return names.schedules;
    case 'area': return names.areas;
    case 'group': return names.groups;
    case 'sources': return names.sources;
    case 'holiday_hours': return (names.holidays ?? []).map((name) => `${name} none`);
    case 'zone': return Intl.supportedValuesOf?.('timeZone');
    default: return choices;
  }
}

function datalist(options, name = said) {
  const list = make('datalist', { id: fresh('offered') });
  list.append(...options.map((value) => make('option', { value, textContent: name(value) === value ? '' : name(value) })));
  return list;
}

// Controls: {element, read(), focus(), id of what a label is of} ---------------------------------------------------------

/** A control of one input or select. */
function simple(input, read, ...more) {
  input.id = fresh('field');
  const element = more.length ? make('div', {}, input, ...more) : input;
  return { element, of: input.id, read: () => read(input), focus: () => input.focus() };
}

function select(options, value, isRequired, name = (option) => option) {
  const all = value && !options.includes(value) ? [value, ...options] : options;
  const input = make('select', {}, ...all.map((option) => new Option(name(option), option)));
  if (!isRequired || !value) input.prepend(new Option(isRequired ? words.choose : words.usual, ''));
  input.value = value ?? '';
  return simple(input, () => input.value || null);
}

const text = (value, properties, ...more) => simple(
  make('input', { spellcheck: false, autocomplete: 'off', autocapitalize: 'none', ...properties, value: value ?? '' }),
  (input) => input.value.trim() || null,
  ...more,
);

function flag(value, usual) {
  if (usual === undefined || usual === null) {
    const now = value === undefined || value === null ? '' : String(value);
    const made = select(['true', 'false'], now, false, (option) => words[option]);
    return { ...made, read: () => ({ true: true, false: false }[made.read()] ?? null) };
  }
  return { ...simple(make('input', { type: 'checkbox', checked: value ?? usual }), (input) => input.checked), isTick: true };
}

function number({ kind, min, max, default: usual }, value) {
  const properties = { type: 'number', step: kind === 'integer' ? 1 : 'any', placeholder: usual ?? '' };
  const made = text(value, properties);
  const input = made.element;
  if (min !== undefined && min !== null) input.min = min;
  if (max !== undefined && max !== null) input.max = max;
  return { ...made, read: () => (input.value === '' ? null : Number(input.value)) };
}

function moment(value) {
  const [, day, time] = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::00)?)?$/.exec(value ?? '') ?? [];
  // With an offset, or to the second: as its owner wrote it.
  if (value && !day) return text(value, {});
  return text(day ? `${day}T${time ?? '00:00'}` : '', { type: 'datetime-local' });
}

/** Several texts as chips: typed or chosen, each taken away by its own button. */
function chips(field, value, options, { placeholder = '', extra = undefined, name = said } = {}) {
  const texts = [...(value ?? [])];
  const chosen = make('ul', { className: 'chosen' });
  const id = fresh('field');
  const input = make('input', { id, spellcheck: false, autocomplete: 'off', autocapitalize: 'none', placeholder });
  const list = options?.length ? datalist(options, name) : null;
  if (list) input.setAttribute('list', list.id);
  const add = make('button', { type: 'button', className: 'quiet', textContent: words.add });
  const element = make('div', { className: 'chips-input' });

  function draw() {
    chosen.replaceChildren(...texts.map((one, at) => {
      const remove = make('button', { type: 'button', textContent: '×', ariaLabel: fill(words.remove, name(one)) });
      remove.addEventListener('click', () => {
        texts.splice(at, 1);
        draw();
        (chosen.querySelectorAll('button')[Math.min(at, texts.length - 1)] ?? input).focus();
      });
      return make('li', { className: 'chip' }, name(one), remove);
    }));
    chosen.hidden = !texts.length;
    element.dispatchEvent(new Event('change', { bubbles: true }));
  }
  function put(one) {
    const wanted = one.trim();
    if (wanted && !texts.includes(wanted)) texts.push(wanted);
    draw();
  }
  const take = () => { put(input.value); input.value = ''; };
  add.addEventListener('click', () => { take(); input.focus(); });
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') {
      // Adds, and never sends the form: what is picked from the list is there before the key comes up.
      event.preventDefault();
      take();
    } else if (event.key === 'Backspace' && !input.value && texts.length) {
      texts.pop();
      draw();
    }
  });
  // What is picked from the list is meant at once.
  input.addEventListener('input', () => options?.includes(input.value) && !options.some((it) => it !== input.value && it.startsWith(input.value)) && take());
  input.addEventListener('change', (event) => event.stopPropagation());
  element.append(chosen, make('div', { className: 'adding' }, input, add), ...(list ? [list] : []), ...(extra ? [extra(put)] : []));
  draw();
  return {
    element,
    of: id,
    // What was typed and not added is meant as well.
    read: () => { if (input.value.trim()) take(); return [...texts]; },
    focus: () => input.focus(),
  };
}

/** Days of a calendar: picked, or typed as the document writes them. */
function dates(field, value) {
  const extra = (put) => {
    const [from, to] = [make('input', { type: 'date', ariaLabel: words.from }), make('input', { type: 'date', ariaLabel: words.to })];
    const yearly = make('input', { type: 'checkbox' });
    const add = make('button', { type: 'button', className: 'quiet', textContent: words.pick });
    add.addEventListener('click', () => {
      const [first, end] = [from.value, to.value].map((day) => (yearly.checked ? day.slice(5) : day));
      if (first) put(end && end !== first ? `${first}/${end}` : first);
      [from.value, to.value] = ['', ''];
    });
    return make(
      'div',
      { className: 'picking' },
      from,
      make('span', { textContent: '–', ariaHidden: 'true' }),
      to,
      make('label', { className: 'tick' }, yearly, make('span', { textContent: words.yearly })),
      add,
    );
  };
  return chips(field, value, [], { placeholder: '2026-12-24, 2026-12-24/2027-01-06, 12-25', extra });
}

function control(field, value, names) {
  const options = offered(field, names);
  switch (field.kind) {
    case 'flag': return flag(value, field.default);
    case 'integer': case 'number': case 'seconds': return number(field, value);
    case 'choice': return select(options, value ?? field.default, field.required || field.default !== undefined && field.default !== null);
    case 'schedule': case 'area': case 'group': return select(options ?? [], value, field.required);
    case 'moment': return moment(value);
    case 'intervals': return intervals(value ?? [], words);
    case 'dates': return dates(field, value);
    case 'holiday_hours': return chips(field, value, options, { placeholder: options[0] ?? 'public none', name: (it) => it });
    case 'persons': case 'doors': case 'subjects': case 'door_sets': case 'sources': return chips(field, value, options ?? []);
    case 'by': return chips(field, value, options, { name: presented });
    case 'texts': return chips(field, value, [], { placeholder: (field.default ?? []).join(', ') });
    case 'zone': { const list = datalist(options ?? []); const made = text(value, {}, list); made.element.firstChild.setAttribute('list', list.id); return made; }
    case 'secret': return { ...text('', { type: 'password', autocomplete: 'new-password', placeholder: field.is_set ? words.kept : '' }) };
    default: return text(value, { placeholder: field.kind === 'time' ? '30s, 5min, 16h' : field.default ?? field.example ?? '' });
  }
}

// The form ---------------------------------------------------------------------------------------------------------------

/** What a number may be. */
function bounds({ kind, min, max }) {
  const isBound = [min, max].every((it) => it !== undefined && it !== null);
  return isBound ? ` ${fill(words.bounds, min, max)}${kind === 'seconds' ? ` ${words.seconds}` : ''}.` : '';
}

/** Draws `fields` with `values` into `place`. */
export function form(place, fields, values = {}, names = {}) {
  const all = new Map();
  const rows = [];

  function row(field) {
    const made = control(field, values[field.key], names);
    const before = JSON.stringify(made.read());
    all.set(field.key, { field, before, ...made });
    const problem = make('p', { className: 'problem', hidden: true, id: fresh('problem') });
    problem.dataset.for = field.key;
    const about = make('span', { className: 'hintline soft', textContent: field.about + bounds(field), id: fresh('about') });
    const title = make('label', { htmlFor: made.of, textContent: label(field.key) + (field.required ? ' *' : '') });
    const input = made.element.id === made.of ? made.element : made.element.querySelector(`#${made.of}`);
    input?.setAttribute('aria-describedby', `${about.id} ${problem.id}`);
    if (input) input.dataset.key = field.key;
    const block = made.isTick
      ? make('div', { className: 'field' }, make('label', { className: 'tick' }, made.element, make('span', { textContent: label(field.key) })), about, problem)
      : make('div', { className: 'field' }, title, made.element, about, problem);
    block.dataset.field = field.key;
    block.dataset.kind = field.kind;
    // What is being mended is not complained about any longer.
    for (const event of ['input', 'change']) block.addEventListener(event, () => { problem.hidden = true; });
    return block;
  }

  const done = new Set();
  for (const field of fields) {
    if (done.has(field.key)) continue;
    if (!field.one_of) {
      rows.push(row(field));
      continue;
    }
    // One of several keys: chosen first, written then.
    const these = field.one_of.map((key) => fields.find((it) => it.key === key)).filter(Boolean);
    const name = fresh('which');
    const choice = make('fieldset', { className: 'which' });
    const blocks = these.map((it) => { done.add(it.key); return row(it); });
    const now = Math.max(0, these.findIndex((it) => values[it.key] !== undefined));
    const show = (shown) => blocks.forEach((block, at) => { block.hidden = at !== shown; });
    these.forEach((it, at) => {
      const radio = make('input', { type: 'radio', name, value: it.key, checked: at === now });
      radio.addEventListener('change', () => show(at));
      choice.append(make('label', { className: 'tick' }, radio, make('span', { textContent: label(it.key) })));
    });
    show(now);
    rows.push(choice, ...blocks);
  }
  place.replaceChildren(...rows);

  const isShown = (key) => !place.querySelector(`[data-field="${CSS.escape(key)}"]`)?.hidden;
  return {
    /** What was changed. A key of a choice that was not taken is `null`. */
    changed() {
      const out = {};
      for (const [key, { before, read }] of all) {
        const value = isShown(key) ? read() : null;
        if (isShown(key) ? JSON.stringify(value) !== before : values[key] !== undefined) out[key] = value;
      }
      return out;
    },
    /** What stands in it. */
    values() {
      return Object.fromEntries([...all].filter(([key]) => isShown(key)).map(([key, { read }]) => [key, read()]));
    },
    /** Says what is wrong at a field; whether there is such a field. */
    complain(key, message) {
      for (const problem of place.querySelectorAll('.problem[data-for]')) problem.hidden = true;
      const problem = key && place.querySelector(`.problem[data-for="${CSS.escape(key)}"]`);
      if (!problem) return false;
      problem.textContent = message;
      problem.hidden = false;
      problem.scrollIntoView({ block: 'nearest' });
      all.get(key)?.focus();
      return true;
    },
    control: (key) => all.get(key),
  };
}
