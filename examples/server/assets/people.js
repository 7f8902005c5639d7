/** The people page: add and edit in a dialog, remove with a way back, give and withdraw cards, PINs and plates. */
import { call, failed, toast } from './app.js';

const fill = (text, value) => text.replace('{0}', value);
/** A message that is shown once the page has come anew. */
const NEWS = 'gv-people-news';

/** Says what is wrong at the field it is about. */
function complain(form, error) {
  const field = error?.code?.replace(/^bad_/, '') ?? '';
  const place = form.querySelector(`.problem[data-for="${CSS.escape(field)}"]`) ?? form.querySelector('.problem[data-for=""]');
  for (const problem of form.querySelectorAll('.problem')) problem.hidden = true;
  if (!error) return;
  place.textContent = error.message;
  place.hidden = false;
  form.elements[place.dataset.for]?.focus?.();
}

function again(news) {
  if (news) sessionStorage.setItem(NEWS, news);
  location.reload();
}

for (const dialog of document.querySelectorAll('dialog')) {
  dialog.querySelector('button[type=button][value=cancel]')?.addEventListener('click', () => dialog.close());
}

// A person ----------------------------------------------------------------------------------------------------------

const dialog = document.getElementById('person-dialog');
const form = dialog.querySelector('form');
const address = (name) => `/api/v1/people/${encodeURIComponent(name)}`;
let edited;

function open(row) {
  edited = row?.name;
  form.reset();
  complain(form);
  dialog.querySelector('h2').textContent = row ? fill(dialog.dataset.edit, row.name) : dialog.dataset.add;
  const { name, title, groups, note, revoked } = form.elements;
  if (row) {
    [name.value, title.value, groups.value, note.value] = [row.name, row.title, row.groups, row.note];
    revoked.checked = row.revoked === 'true';
  }
  name.readOnly = Boolean(row);
  dialog.showModal();
  (row ? title : name).focus();
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { name, title, groups, note, revoked } = form.elements;
  const save = form.querySelector('.primary');
  save.disabled = true;
  try {
    const saved = await call('PUT', address(edited ?? (name.value.trim() || ' ')), {
      title: title.value, note: note.value, revoked: revoked.checked,
      groups: groups.value.split(',').map((it) => it.trim()).filter(Boolean),
    });
    again(fill(dialog.dataset.saved, saved.name));
  } catch (error) {
    complain(form, error);
    save.disabled = false;
  }
});

document.getElementById('add').addEventListener('click', () => open());

async function remove(row, button) {
  button.disabled = true;
  const { name } = row.dataset;
  try {
    await call('DELETE', address(name));
    row.hidden = true;
    toast(fill(dialog.dataset.removed, name), false, {
      title: dialog.dataset.undo,
      act: async () => {
        try {
          await call('POST', `${address(name)}/restore`);
          row.hidden = false;
          button.disabled = false;
          toast(fill(dialog.dataset.restored, name));
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

// What they carry ---------------------------------------------------------------------------------------------------

const keys = document.getElementById('keys-dialog');
const giving = keys.querySelector('form');
const words = keys.dataset;
let holder;
let isChanged = false;

const button = (text, act, isQuiet = true) => {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = isQuiet ? 'quiet' : '';
  made.textContent = text;
  made.addEventListener('click', async () => {
    made.disabled = true;
    complain(giving);
    try {
      show(await act());
      isChanged = true;
    } catch (error) {
      complain(giving, error);
      made.disabled = false;
    }
  });
  return made;
};

function show({ keys: all }) {
  const list = keys.querySelector('.held');
  list.replaceChildren(...all.map(({ id, kind, label, revoked, set_anew: isOld, added }) => {
    const item = document.createElement('li');
    const what = document.createElement('span');
    what.textContent = [words[kind], label, isOld && `· ${words.anew}`, revoked && `· ${words.withdrawn}`].filter(Boolean).join(' ');
    if (revoked) what.className = 'soft';
    const since = document.createElement('gv-time');
    since.setAttribute('datetime', added);
    since.setAttribute('show', 'day');
    const when = document.createElement('span');
    when.className = 'soft';
    when.append(since);
    const at = `/api/v1/keys/${id}`;
    item.append(what, when, button(revoked ? words.return : words.withdraw, () => call('PUT', at, { revoked: !revoked })));
    if (revoked) item.append(button(words.remove, () => call('DELETE', at)));
    return item;
  }));
  if (!all.length) list.append(Object.assign(document.createElement('li'), { className: 'soft', textContent: words.none }));
}

function ask() {
  const { kind, key } = giving.elements;
  keys.querySelector('.hintline').textContent = words[`${kind.value}hint`];
  const isPin = kind.value.endsWith('pin');
  key.type = isPin ? 'password' : 'text';
  key.inputMode = isPin ? 'numeric' : 'text';
  key.autocomplete = isPin ? 'new-password' : 'off';
}
giving.elements.kind.addEventListener('change', ask);

function carries(row) {
  holder = row.dataset.name;
  isChanged = false;
  giving.reset();
  complain(giving);
  ask();
  keys.querySelector('h2').textContent = fill(words.title, holder);
  show({ keys: [...row.querySelectorAll('[data-key]')].map(({ dataset: it }) => (
    { id: it.key, kind: it.kind, label: it.label, revoked: it.withdrawn === 'true', set_anew: it.anew === 'true', added: it.added })) });
  keys.showModal();
}

giving.addEventListener('submit', async (event) => {
  event.preventDefault();
  complain(giving);
  const { kind, key } = giving.elements;
  const content = { kind: kind.value, key: key.value };
  key.value = '';
  try {
    show(await call('POST', `${address(holder)}/keys`, content));
    isChanged = true;
  } catch (error) {
    complain(giving, error);
  }
});
keys.addEventListener('close', () => isChanged && location.reload());

// Rolling codes -----------------------------------------------------------------------------------------------------

const codes = document.getElementById('code-dialog');
const coded = codes.querySelector('form');

async function code(method = 'GET') {
  complain(coded);
  try {
    const { link } = await call(method, `${address(holder)}/code`);
    codes.querySelector('h2').textContent = fill(codes.dataset.title, holder);
    const [input, none] = [coded.elements.link, codes.querySelector('.none')];
    input.value = link ? location.origin + link : '';
    input.parentElement.hidden = coded.elements.copy.hidden = coded.elements.withdraw.hidden = !link;
    none.hidden = Boolean(link);
    coded.elements.renew.textContent = link ? codes.dataset.again : codes.dataset.first;
    if (!codes.open) codes.showModal();
  } catch (error) {
    if (codes.open) complain(coded, error);
    else failed(error);
  }
}
coded.elements.renew.addEventListener('click', () => code('POST'));
coded.elements.withdraw.addEventListener('click', () => code('DELETE'));
coded.elements.copy.addEventListener('click', async () => {
  coded.elements.link.select();
  // Without TLS a browser has no clipboard for scripts; what is selected can be copied by hand.
  await navigator.clipboard?.writeText(coded.elements.link.value).then(() => toast(codes.dataset.copied)).catch(() => {});
});

document.querySelector('.people-list')?.addEventListener('click', (event) => {
  const pressed = event.target.closest('button');
  const row = pressed?.closest('tr');
  if (pressed?.name === 'edit') open(row.dataset);
  if (pressed?.name === 'keys') carries(row);
  if (pressed?.name === 'code') {
    holder = row.dataset.name;
    code();
  }
  if (pressed?.name === 'delete') remove(row, pressed);
});

const news = sessionStorage.getItem(NEWS);
if (news) {
  sessionStorage.removeItem(NEWS);
  toast(news);
}
