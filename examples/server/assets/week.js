/** Hours of the week, drawn: a row for each day, intervals across midnight on both of their days; and edited row by row. */

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const DAY = 1440;
const SVG = 'http://www.w3.org/2000/svg';
const [LEFT, TOP, ROW, HOUR] = [30, 18, 16, 14];

const minutes = (time) => {
  const [, hour, minute] = /^(\d\d):(\d\d)$/.exec(time) ?? [];
  const all = Number(hour) * 60 + Number(minute);
  return Number(minute) < 60 && all <= DAY ? all : NaN;
};

/** `Mon-Fri 22:00-06:00` as {days, start, end} with an end behind midnight beyond 24 hours; undefined if it is none. */
export function parsed(text) {
  const [, names, from, to] = /^(\S+) +(\d\d:\d\d)-(\d\d:\d\d)$/.exec(text.trim()) ?? [];
  if (!names) return undefined;
  const days = new Set(names === 'daily' ? DAYS.keys() : []);
  for (const part of names === 'daily' ? [] : names.split(',')) {
    const [first, last] = [part.split('-')[0], part.split('-').at(-1)].map((name) => DAYS.indexOf(name));
    if (first < 0 || last < 0) return undefined;
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === last) break;
    }
  }
  const [start, end] = [minutes(from), minutes(to)];
  if (!(start < DAY) || Number.isNaN(end) || start === end) return undefined;
  return { days: [...days].sort((a, b) => a - b), start, end: end > start ? end : end + DAY, from, to };
}

const svg = (name, attributes, text = undefined) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};

/** The picture of some intervals. What cannot be read is left out: its field says so. */
export function week(texts, names) {
  const days = (names?.days ?? DAYS.join(',')).split(',');
  const [width, height] = [LEFT + 24 * HOUR + 8, TOP + 7 * ROW + 4];
  const out = svg('svg', { viewBox: `0 0 ${width} ${height}`, class: 'week', role: 'img', 'aria-label': texts.join('; ') || (names?.never ?? '') });
  for (let hour = 0; hour <= 24; hour += 3) {
    const x = LEFT + hour * HOUR;
    out.append(svg('line', { x1: x, x2: x, y1: TOP, y2: TOP + 7 * ROW, class: hour % 6 ? 'hour' : 'hour strong' }));
    if (hour % 6 === 0) out.append(svg('text', { x, y: TOP - 5, 'text-anchor': 'middle' }, String(hour).padStart(2, '0')));
  }
  days.forEach((name, day) => {
    out.append(svg('text', { x: LEFT - 6, y: TOP + day * ROW + ROW - 4, 'text-anchor': 'end' }, name));
    out.append(svg('rect', { x: LEFT, y: TOP + day * ROW + 2, width: 24 * HOUR, height: ROW - 4, rx: 3, class: 'day' }));
  });
  const bar = (day, from, to, kind) => out.append(svg('rect', {
    x: LEFT + (from / 60) * HOUR, y: TOP + (day % 7) * ROW + 2, width: ((to - from) / 60) * HOUR, height: ROW - 4, rx: 3, class: kind,
  }));
  for (const { days: on, start, end } of texts.map(parsed).filter(Boolean)) {
    for (const day of on) {
      bar(day, start, Math.min(end, DAY), 'open');
      if (end > DAY) bar(day + 1, 0, end - DAY, 'open over');
    }
  }
  return out;
}

/** Days as the document writes them. */
function daysText(days) {
  if (days.length === 7) return 'daily';
  const runs = [];
  for (const day of days) {
    const run = runs.at(-1);
    if (run && run.at(-1) === day - 1) run.push(day);
    else runs.push([day]);
  }
  return runs.map((run) => (run.length > 2 ? `${DAYS[run[0]]}-${DAYS[run.at(-1)]}` : run.map((day) => DAYS[day]).join(','))).join(',');
}

/** A control that edits intervals, with their picture. */
export function intervals(value, words) {
  const element = Object.assign(document.createElement('div'), { className: 'intervals' });
  const rows = Object.assign(document.createElement('ul'), { className: 'spans' });
  const picture = Object.assign(document.createElement('div'), { className: 'grid' });
  const add = Object.assign(document.createElement('button'), { type: 'button', className: 'quiet', textContent: words.interval });
  add.id = `interval-${Math.random().toString(36).slice(2)}`;
  const shown = words.days.split(',');
  const texts = () => [...rows.children].map((row) => row.dataset.text).filter(Boolean);
  const draw = () => {
    picture.replaceChildren(week(texts(), words));
    element.dispatchEvent(new Event('change', { bubbles: true }));
  };

  function input(type, text, name) {
    return Object.assign(document.createElement('input'), { type, value: text, ariaLabel: name });
  }
  function put(text) {
    const row = document.createElement('li');
    row.dataset.text = text;
    const span = parsed(text);
    if (span || !text) {
      const days = document.createElement('span');
      days.className = 'days';
      const ticks = DAYS.map((name, day) => {
        const label = document.createElement('label');
        const tick = Object.assign(input('checkbox', name, undefined), { checked: span ? span.days.includes(day) : day < 5 });
        label.append(tick, Object.assign(document.createElement('span'), { textContent: shown[day] }));
        days.append(label);
        return tick;
      });
      const [from, to] = [input('time', span?.from ?? '08:00', words.from), input('time', span?.to === '24:00' ? '00:00' : span?.to ?? '18:00', words.to)];
      const write = () => {
        const on = [...DAYS.keys()].filter((day) => ticks[day].checked);
        const end = to.value === '00:00' ? '24:00' : to.value;
        row.dataset.text = on.length && from.value && end ? `${daysText(on)} ${from.value}-${end}` : '';
        draw();
      };
      row.append(days, from, Object.assign(document.createElement('span'), { textContent: '–', ariaHidden: 'true' }), to);
      row.addEventListener('input', write);
      row.addEventListener('change', (event) => event.stopPropagation());
      if (!span) write();
    } else {
      // Not as this form writes it: as its owner did.
      const raw = input('text', text, words.interval);
      raw.addEventListener('input', () => { row.dataset.text = raw.value.trim(); draw(); });
      row.append(raw);
    }
    const remove = Object.assign(document.createElement('button'), { type: 'button', className: 'quiet', textContent: '×', ariaLabel: words.remove.replace('{0}', text) });
    remove.addEventListener('click', () => { row.remove(); draw(); add.focus(); });
    row.append(remove);
    rows.append(row);
    return row;
  }
  value.forEach(put);
  if (!value.length) put('');
  add.addEventListener('click', () => { put('').querySelector('input').focus(); draw(); });
  element.append(picture, rows, add);
  draw();
  return { element, of: add.id, read: texts, focus: () => rows.querySelector('input')?.focus() ?? add.focus() };
}
