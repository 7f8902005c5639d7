/** The form of a relay: a driver of the list, and what its address holds. The server writes the address; what it keeps and
 * does not show stays, as long as the device is the same. */
import { form, label } from './form.js';

const make = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

/** `clients_only` as the name of a word of the page. */
const camel = (code) => label(code).replaceAll(' ', '');

/**
 * Draws the form into `place`. `relay` is what may be shown of the address that is kept, `isSet` whether there is one.
 * `words` are those of the page.
 */
export function relayForm(place, drivers, relay, isSet, words) {
  const choice = make('select', { id: 'relay-driver' });
  choice.dataset.key = 'relay.driver';
  if (!isSet) choice.append(new Option(words.choose, ''));
  choice.append(...drivers.map(({ driver, title }) => new Option(title, driver)), new Option(words.address, 'address'));
  choice.value = relay?.driver ?? (isSet ? 'address' : '');
  const note = make('div', { className: 'note' });
  const fields = make('div', { className: 'fields' });
  const problem = (key) => { const it = make('p', { className: 'problem', hidden: true }); it.dataset.for = key; return it; };
  place.replaceChildren(
    make('div', { className: 'field' }, make('label', { htmlFor: choice.id, textContent: words.relay }), choice, problem('relay.driver'), problem('relay')),
    note,
    fields,
  );
  let drawn;
  let ticks = new Map();
  let isTouched = false;

  function draw() {
    const spec = drivers.find(({ driver }) => driver === choice.value);
    const own = relay?.driver === choice.value ? relay : undefined;
    note.replaceChildren();
    ticks = new Map();
    drawn = undefined;
    if (choice.value === 'address') {
      const about = words.addressAbout;
      drawn = form(fields, [{ key: 'address', kind: 'secret', about, required: !isSet, is_set: isSet }]);
      return;
    }
    fields.replaceChildren();
    if (!spec) return;
    const said = [spec.about, words[`pulse${camel(spec.pulse)}`]].filter(Boolean).join(' ');
    note.append(make('p', { className: 'soft', textContent: said }));
    const verified = make('p', { className: spec.verified === 'device' ? 'chip online' : 'chip warning', textContent: words[`verified${camel(spec.verified)}`] });
    note.append(verified);
    if (spec.unverified?.length) {
      const list = make('ul', {}, ...spec.unverified.map((textContent) => make('li', { textContent })));
      note.append(make('details', {}, make('summary', { textContent: words.unverified }), list));
    }
    const described = spec.fields.map((field) => ({ ...field, about: sentence(field), is_set: own?.kept.includes(field.key) }));
    drawn = form(fields, described, own?.fields);
    for (const field of described.filter((it) => it.is_set)) keep(field.key);
    for (const it of fields.querySelectorAll('.problem[data-for]')) it.dataset.for = `relay.${it.dataset.for}`;
    for (const it of fields.querySelectorAll('[data-key]')) it.dataset.key = `relay.${it.dataset.key}`;
  }

  const sentence = ({ about, default: usual, choices }) => {
    const text = about.charAt(0).toUpperCase() + about.slice(1);
    return `${text}${usual && !choices ? words.usually.replace('{0}', usual) : ''}.`;
  };

  /** What is kept is not shown: it stays until its tick is taken away. */
  function keep(key) {
    const block = fields.querySelector(`[data-field="${CSS.escape(key)}"]`);
    const tick = make('input', { type: 'checkbox', checked: true });
    const input = block.querySelector('[data-key]');
    const follow = () => { input.hidden = tick.checked; if (!tick.checked) input.focus(); };
    tick.addEventListener('change', follow);
    block.querySelector('label').after(make('label', { className: 'tick' }, tick, make('span', { textContent: words.keep })));
    input.placeholder = '';
    follow();
    ticks.set(key, tick);
  }

  choice.addEventListener('change', () => { isTouched = true; draw(); });
  fields.addEventListener('input', () => { isTouched = true; });
  fields.addEventListener('change', () => { isTouched = true; });
  draw();

  return {
    /** What is sent: `undefined` for as it was, a text, or a form. */
    value() {
      if (!drawn || !isTouched) return undefined;
      if (choice.value === 'address') return drawn.values().address ?? undefined;
      const kept = [...ticks].filter(([, tick]) => tick.checked).map(([key]) => key);
      const filled = Object.entries(drawn.values()).filter(([key, value]) => value !== null && !kept.includes(key));
      // What is as it is when nothing is said is left out.
      const spec = drivers.find(({ driver }) => driver === choice.value);
      const usual = (key) => spec.fields.find((field) => field.key === key)?.default;
      const said = filled.filter(([key, value]) => String(value) !== usual(key));
      return { driver: choice.value, fields: Object.fromEntries(said.map(([key, value]) => [key, String(value)])), keep: kept };
    },
    focus: () => choice.focus(),
  };
}
