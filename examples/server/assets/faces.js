/**
 * The faces page: enrol by photos, name a stranger, forget, search by a photo. Photos are turned upright and reduced here,
 * which also takes out what a telephone writes into them; only that leaves the browser.
 */
import { call, failed, toast } from './app.js';

/** Longer side and quality of what is sent: a face in it is larger than any camera sees it. */
const SIDE = 1600, QUALITY = 0.92;
const NEWS = 'gv-faces-news';
const fill = (text, ...values) => values.reduce((text, value, at) => text.replace(`{${at}}`, value), text);

/** A file's picture, or what a <video> or <canvas> shows now, as a JPEG. */
async function reduced(source) {
  const picture = await (source instanceof Blob ? createImageBitmap(source, { imageOrientation: 'from-image' }) : createImageBitmap(source));
  const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return new Promise((done) => canvas.toBlob(done, 'image/jpeg', QUALITY));
}

const base64 = (blob) => new Promise((done, fail) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(',')[1]);
  reader.onerror = () => fail(reader.error);
  reader.readAsDataURL(blob);
});

/** Says what is wrong at the field it is about. */
function complain(form, error) {
  const field = error?.code?.replace(/^bad_/, '') ?? '';
  const place = form.querySelector(`.problem[data-for="${CSS.escape(field)}"]`) ?? form.querySelector('.problem[data-for=""]');
  for (const problem of form.querySelectorAll('.problem')) problem.hidden = true;
  if (!error) return;
  place.textContent = error.message;
  place.hidden = false;
}

function again(news) {
  sessionStorage.setItem(NEWS, news);
  location.reload();
}

for (const dialog of document.querySelectorAll('dialog')) {
  dialog.querySelector('button[type=button][value=cancel]')?.addEventListener('click', () => dialog.close());
}

// Enrolling ---------------------------------------------------------------------------------------------------------

const dialog = document.getElementById('face-dialog');
const form = dialog.querySelector('form');
const list = form.querySelector('.photos');
const { person, list: kind, photos: files, agreed, reason } = form.elements;
form.querySelector('[data-consent] span').textContent = dialog.dataset.consent;

/** The photos chosen, as `{ blob, item }`; and the group that is being named, if it is one. */
let chosen = [];
let group;

function arrange() {
  const isWatch = !group && kind.value === 'watch';
  form.querySelector('[data-consent]').hidden = isWatch;
  form.querySelector('[data-reason]').hidden = !isWatch;
  for (const part of form.querySelectorAll('[data-enrol]')) part.hidden = Boolean(group);
}

/** The picture of the camera that is chosen, live, until the dialog closes. */
const shoot = document.getElementById('shoot');
function watch(path) {
  if (!shoot) return;
  const stage = form.querySelector('.from-camera .stage');
  stage.replaceChildren();
  shoot.hidden = !path;
  if (!path) return;
  const player = document.createElement('gv-player');
  player.setAttribute('src', `/api/v1/cameras/${path}/live`);
  player.setAttribute('name', form.elements.camera.selectedOptions[0].textContent);
  stage.append(player);
}
form.elements.camera?.addEventListener('change', () => watch(form.elements.camera.value));
dialog.addEventListener('close', () => watch(''));
shoot?.addEventListener('click', async () => {
  complain(form);
  try {
    if (!await take(form.querySelector('gv-player').picture)) complain(form, { code: 'bad_photos', message: fill(dialog.dataset.enough, dialog.dataset.max) });
  } catch {
    complain(form, { code: 'bad_photos', message: dialog.dataset.nopicture });
  }
});

/** Adds a picture to those chosen; false if there are enough. */
async function take(source) {
  if (chosen.length >= Number(dialog.dataset.max)) return false;
  const blob = await reduced(source);
  const item = shown(blob);
  list.append(item);
  chosen.push({ blob, item });
  return true;
}

function open(named) {
  group = named;
  form.reset();
  chosen = [];
  list.replaceChildren();
  complain(form);
  dialog.querySelector('h2').textContent = named ? fill(dialog.dataset.name, named.dataset.name) : dialog.dataset.add;
  form.querySelector('.primary').disabled = false;
  arrange();
  dialog.showModal();
  person.focus();
}

kind.addEventListener('change', arrange);
document.getElementById('add').addEventListener('click', () => open());

function shown(blob) {
  const item = document.createElement('li');
  const picture = document.createElement('img');
  picture.src = URL.createObjectURL(blob);
  picture.alt = '';
  picture.addEventListener('load', () => URL.revokeObjectURL(picture.src), { once: true });
  item.append(picture, document.createElement('span'));
  return item;
}

files.addEventListener('change', async () => {
  complain(form);
  for (const file of files.files) {
    try {
      if (!await take(file)) {
        complain(form, { code: 'bad_photos', message: fill(dialog.dataset.enough, dialog.dataset.max) });
        break;
      }
    } catch {
      complain(form, { code: 'bad_photos', message: `${file.name}: ${dialog.dataset.unreadable}` });
    }
  }
  files.value = '';
});

/** What became of each photo, under it. */
function tell(photos) {
  for (const [at, { taken, why }] of photos.entries()) {
    const item = chosen[at]?.item;
    if (!item) continue;
    item.className = taken ? 'taken' : 'refused';
    item.querySelector('span').textContent = taken ? dialog.dataset.taken : why;
  }
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const save = form.querySelector('.primary');
  save.disabled = true;
  complain(form);
  try {
    const isWatch = !group && kind.value === 'watch';
    // Nothing is agreed to unless it is ticked: the words are sent only then.
    const words = isWatch ? reason.value : agreed.checked ? dialog.dataset.consent : '';
    if (group) {
      const named = await call('PUT', group.dataset.nameGroup, { person: person.value, words });
      return again(fill(dialog.dataset.enrolled, named.person));
    }
    const photos = await Promise.all(chosen.map(({ blob }) => base64(blob)));
    const answer = await call('POST', '/api/v1/faces', { person: person.value, list: kind.value, words, photos });
    tell(answer.photos);
    if (!answer.person) throw Object.assign(new Error(dialog.dataset.none), { code: 'bad_photos' });
    if (answer.photos.every(({ taken }) => taken)) return again(fill(dialog.dataset.enrolled, answer.person.person));
    complain(form, { message: fill(dialog.dataset.partly, answer.person.person) });
    form.querySelector('[value=cancel]').textContent = dialog.dataset.close;
    dialog.addEventListener('close', () => location.reload(), { once: true });
    return undefined;
  } catch (error) {
    complain(form, error);
    save.disabled = false;
    return undefined;
  }
});

// Forgetting --------------------------------------------------------------------------------------------------------

const forgetting = document.getElementById('forget-dialog');
let doomed;

document.addEventListener('click', async (event) => {
  const button = event.target.closest('button');
  if (button?.dataset.nameGroup) return open(button);
  if (button?.dataset.forget) {
    doomed = button;
    forgetting.querySelector('form').reset();
    complain(forgetting.querySelector('form'));
    forgetting.querySelector('h2').textContent = fill(forgetting.dataset.title, button.dataset.name);
    return forgetting.showModal();
  }
  if (button?.dataset.forgetGroup) {
    button.disabled = true;
    try {
      await call('DELETE', button.dataset.forgetGroup);
      button.closest('.stranger').remove();
    } catch (error) {
      failed(error);
      button.disabled = false;
    }
  }
  return undefined;
});

forgetting.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    const { photos, sightings } = await call('DELETE', doomed.dataset.forget, { why: event.target.elements.why.value });
    again(fill(forgetting.dataset.done, doomed.dataset.name, photos, sightings));
  } catch (error) {
    complain(event.target, error);
  }
});

// Searching ---------------------------------------------------------------------------------------------------------

const searching = document.getElementById('search-dialog');
document.getElementById('search').addEventListener('click', () => {
  searching.querySelector('.photos').replaceChildren();
  complain(searching.querySelector('form'));
  searching.showModal();
});

searching.querySelector('input[type=file]').addEventListener('change', async (event) => {
  const [file] = event.target.files;
  event.target.value = '';
  if (!file) return;
  const results = searching.querySelector('.photos');
  results.replaceChildren();
  complain(searching.querySelector('form'));
  try {
    const { found } = await call('POST', '/api/v1/face-search', await reduced(file), 'image/jpeg');
    if (!found.length) throw new Error(searching.dataset.none);
    for (const it of found) {
      const item = document.createElement('li');
      const at = document.createElement('gv-time');
      at.setAttribute('datetime', it.at);
      at.setAttribute('show', 'exact');
      const words = document.createElement('span');
      words.append(`${fill(searching.dataset.similar, Math.round(it.similarity / 10))} · ${it.camera}`, document.createElement('br'), at);
      if (it.subject) words.prepend(`${it.subject} · `);
      if (it.sighting) {
        const picture = document.createElement('img');
        picture.src = `/api/v1/sightings/${it.sighting}/crop`;
        picture.alt = '';
        item.append(picture);
      } else {
        const none = document.createElement('p');
        none.className = 'crop none';
        none.textContent = searching.dataset.nopicture;
        item.append(none);
      }
      item.append(words);
      results.append(item);
    }
  } catch (error) {
    complain(searching.querySelector('form'), error);
  }
});

const news = sessionStorage.getItem(NEWS);
if (news) {
  sessionStorage.removeItem(NEWS);
  toast(news);
}
