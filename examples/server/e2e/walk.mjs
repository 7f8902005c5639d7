// Walks every page of a running `godvision-server demo` as its owner does, and fails on any error in the console.
//
//   node e2e/walk.mjs URL PASSWORD [FOLDER]     (or GODVISION_URL, GODVISION_ADMIN_PASSWORD, SCREENSHOTS)
//
// Screenshots of every page go to FOLDER.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { browser, check, sleep, until } from './browser.mjs';
import { forms } from './forms.mjs';

const [url = process.env.GODVISION_URL, password = process.env.GODVISION_ADMIN_PASSWORD, folder = process.env.SCREENSHOTS] = process.argv.slice(2);
if (!url || !password) throw new Error('usage: node walk.mjs URL PASSWORD [FOLDER FOR SCREENSHOTS]');
const user = process.env.GODVISION_USER ?? 'admin';

// A wrong password is answered 401 and a plate that is none, a face without consent, a PIN that is too short or a door without a reason 400, which the browser writes to its console. Nothing else may
// be there.
const expected = [/status of 401 .*\/login/, /status of 400 .*\/(plates\/|faces|keys|open|setup)/];
const { page, problems, close } = await browser({ expected });
if (folder) mkdirSync(folder, { recursive: true });
let shots = 0;
const shot = (name) => folder && page.screenshot({ path: join(folder, `${String(++shots).padStart(2, '0')}-${name}.png`), fullPage: true });
const shown = (selector) => page.locator(selector).first().waitFor({ state: 'visible', timeout: 10_000 });

async function signIn(secret) {
  await page.fill('input[name=name]', user);
  await page.fill('input[name=password]', secret);
  await page.click('form button.primary');
}

/** A small grey copy of what the element shows, to tell whether it moves. */
const look = (selector) => page.evaluate((selector) => {
  const element = document.querySelector(selector);
  if (!element || !(element.videoWidth || element.width)) return null;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [64, 36];
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  pen.drawImage(element, 0, 0, 64, 36);
  const { data } = pen.getImageData(0, 0, 64, 36);
  return Array.from({ length: 64 * 36 }, (_, at) => (data[at * 4] + data[at * 4 + 1] + data[at * 4 + 2]) / 3);
}, selector);
const spread = (grey) => Math.max(...grey) - Math.min(...grey);
const differ = (a, b) => a.reduce((most, value, at) => Math.max(most, Math.abs(value - b[at])), 0);

try {
  console.log('signing in');
  await page.goto(`${url}/clips`);
  check(new URL(page.url()).pathname === '/login', 'a stranger is sent to the login page');
  await shot('login');
  await signIn(`${password}-wrong`);
  await shown('[role=alert]');
  check(await page.locator('[role=alert]').innerText(), 'a wrong password is refused in words');
  await signIn(password);
  await page.waitForURL('**/clips', { timeout: 10_000 });
  check(true, 'the right one leads to the page that was asked for');

  console.log('cameras');
  await page.click('nav.tabs a[href="/cameras"]');
  await shown('gv-player');
  const names = await page.locator('.camera').evaluateAll((cards) => cards.map((card) => card.id));
  check(names.length > 0, `there are cameras: ${names.join(', ')}`);
  for (const [index, id] of names.entries()) {
    const player = `gv-player[data-walk="${index}"]`;
    await page.evaluate(([id, index]) => {
      const found = document.getElementById(id).querySelector('gv-player');
      found.dataset.walk = index;
      found.scrollIntoView({ block: 'center' });
    }, [id, index]);
    await until(() => page.evaluate((player) => document.querySelector(player).state === 'live', player), `${id} is live`, 15_000);
    const picture = `${player} video, ${player} canvas`;
    const first = await until(() => look(picture), `${id} has a picture`);
    check(spread(first) > 20, `${id} shows something (its greys span ${Math.round(spread(first))})`);
    await until(async () => differ(first, await look(picture)) > 8, `${id} moves`, 15_000);
    const { firstPictureMs, latencyMs, bufferedAhead, mime } = await page.evaluate((player) => document.querySelector(player).stats, player);
    console.log(`  ok  ${id} moves (${mime}; first picture ${Math.round(firstPictureMs)} ms, capture to screen about ${Math.round(latencyMs ?? NaN)} ms, reserve ${Math.round(bufferedAhead * 1000)} ms)`);
  }
  await shot('cameras');
  const snapshot = page.waitForEvent('download');
  await page.locator('gv-player button.gv-player-snapshot').first().click();
  check((await snapshot).suggestedFilename().endsWith('.jpg'), 'a picture can be saved');
  await page.locator('gv-player').first().focus();
  await page.keyboard.press('k');
  await until(() => page.evaluate(() => document.querySelector('gv-player').state === 'paused'), 'the keyboard pauses a view');
  await page.keyboard.press('k');
  await until(() => page.evaluate(() => document.querySelector('gv-player').state === 'live'), 'and goes on with it');
  console.log('  ok  a view is paused and resumed by the keyboard');
  for (const button of await page.locator('gv-player button.gv-player-marks').all()) await button.click();
  const boxes = () => page.evaluate(() => [...document.querySelectorAll('.gv-player-boxes > rect')].map((box) => {
    const { width, height } = box.ownerSVGElement.viewBox.baseVal;
    return ['x', 'y', 'width', 'height'].map((name, at) => box.getAttribute(name) / (at % 2 ? height : width));
  }));
  const drawn = await until(async () => { const all = await boxes(); return all.length && all; }, 'what moves is boxed', 60_000);
  check(drawn.every(([x, y, w, h]) => x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 1.001 && y + h <= 1.001), 'boxes lie in the picture');
  await until(() => page.evaluate(() => document.querySelector('.gv-player-boxes .mask')?.getAttribute('d').length > 20), 'the pixels that move are drawn', 60_000);
  await shot('cameras-boxes');
  await page.locator('gv-player button.gv-player-marks').first().click();
  check(await page.evaluate(() => !document.querySelector('gv-player .gv-player-boxes > rect')), 'the boxes are hidden again');
  console.log(`  ok  what moves is boxed (${drawn.length}), and hidden again`);

  await page.locator('button[data-zones]').first().click();
  const layer = page.locator('.gv-player-zones').first();
  await layer.waitFor();
  const area = await layer.boundingBox();
  const put = ([x, y]) => page.mouse.click(area.x + area.width * x, area.y + area.height * y);
  for (const corner of [[0.1, 0.3], [0.9, 0.3], [0.9, 0.8], [0.1, 0.8]]) await put(corner);
  await put([0.1, 0.3]);
  const named = page.locator('.zones li input[name=name]').last();
  await named.fill('gate');
  await page.locator('.zones li select[name=kind]').last().selectOption('watch');
  await shot('zones');
  await page.locator('.zones button[name=save]').first().click();
  await page.locator('.gv-player-zones').first().waitFor({ state: 'detached' });
  const watched = await page.evaluate((at) => fetch(at).then((it) => it.json()), await page.locator('button[data-zones]').first().getAttribute('data-zones'));
  const corners = watched.zones.at(-1).split(': ')[1].split(' ').map((it) => it.split(',').map(Number));
  const near = (a, b) => Math.abs(a - b) <= 15;
  check(watched.zones.at(-1).startsWith('gate: ') && corners.length === 4 && near(corners[0][0], 100) && near(corners[2][0], 900), 'a zone drawn over the picture is in force');
  await page.locator('button[data-zones]').first().click();
  await page.locator('.zones li button[name=remove]').last().click();
  await page.locator('.zones button[name=undo]').first().click();
  check(await page.locator('.zones li').count() === watched.zones.length, 'what was removed is undone');
  await page.locator('.zones li button[name=remove]').last().click();
  await page.locator('.zones button[name=save]').first().click();
  await page.locator('.gv-player-zones').first().waitFor({ state: 'detached' });
  console.log('  ok  a zone is drawn, saved, undone and removed');

  // The demo leaves nothing behind, so a report of something left is put between the server and the page.
  const second = await page.context().newPage();
  let socket;
  await second.routeWebSocket(/\/live$/, (it) => { socket = it; it.connectToServer(); });
  await second.goto(`${url}/cameras`);
  await until(() => second.evaluate(() => document.querySelector('gv-player').state === 'live'), 'a second view is live', 15_000);
  const left = { thing: 1, kind: 'left', since_ms: Date.now() - 185_000, region: [250, 700, 330, 880] };
  socket.send(JSON.stringify({ type: 'rests', things: [left] }));
  const note = await until(() => second.evaluate(() => document.querySelector('.gv-player-boxes .rest text')?.textContent), 'what was left is drawn');
  check(note.includes('3 min'), `with its age: ${note}`);
  if (folder) await second.screenshot({ path: join(folder, 'rest.png') });
  socket.send(JSON.stringify({ type: 'rests', things: [] }));
  await until(() => second.evaluate(() => !document.querySelector('.gv-player-boxes .rest')), 'it is gone once it is over');
  await second.close();

  for (const what of ['detection', 'archive', 'qr']) {
    const button = page.locator(`.switch[data-put$="/${what}"]`).first();
    const path = await button.getAttribute('data-put');
    const says = async () => (await (await page.request.get(`${url}/api/v1/cameras`)).text());
    const was = await button.getAttribute('aria-checked');
    const now = was === 'true' ? 'false' : 'true';
    const before = await says();
    await button.click();
    await until(async () => await button.getAttribute('aria-checked') === now && !await button.getAttribute('data-busy'), `${what} is switched`);
    await until(async () => await says() !== before, `the API says so for ${path}`);
    await page.reload();
    check(await page.locator(`.switch[data-put="${path}"]`).getAttribute('aria-checked') === now, `${what} stays switched after a reload`);
    const again = page.locator(`.switch[data-put="${path}"]`);
    await again.click();
    await until(async () => await again.getAttribute('aria-checked') === was && !await again.getAttribute('data-busy'), `${what} is switched back`);
  }

  const plates = page.locator('.switch[data-put$="/plates"]').first();
  const why = await page.locator('.missing').first().innerText().catch(() => '');
  check(await plates.isDisabled() === why.includes('fetch.py'), `number plates are switched, or the page says what is missing: ${why}`);

  console.log('clips');
  await page.click('nav.tabs a[href="/clips"]');
  await until(async () => await page.locator('.clip').count() > 0, 'a clip is recorded because something moved', 60_000);
  // The newest may still grow; a complete one is played.
  const complete = '.clip:has(.chip.archived), .clip:has(.chip.waiting), .clip:has(.chip.uploading)';
  await until(async () => await page.locator(complete).count() > 0, 'a clip is complete', 60_000);
  const clip = await page.locator(complete).first().getAttribute('id');
  const stage = page.locator(`[id="${clip}"] .stage`);
  await stage.locator('.play').click();
  const playing = stage.locator('video');
  const start = await until(() => playing.evaluate((video) => video.readyState >= 2 && { at: video.currentTime, duration: video.duration }), 'the clip is loaded', 15_000);
  const reached = await until(() => playing.evaluate((video) => (video.currentTime > 0.5 || video.ended) && video.currentTime), 'the clip plays', 15_000);
  check(reached > start.at || start.at > 0.5, `the clip plays: ${reached.toFixed(1)} s of ${start.duration.toFixed(1)} s`);
  await playing.evaluate((video) => { video.currentTime = video.duration * 0.7; });
  await until(() => playing.evaluate((video) => !video.seeking && video.readyState >= 2), 'it can be moved to another place');
  check(await stage.locator('.problem').count() === 0, 'without a problem');
  await shot('clips');
  const { clips } = { clips: await (await page.request.get(`${url}/api/v1/clips`)).json() };
  check(JSON.stringify(clips).includes('archived') || JSON.stringify(clips).includes('waiting'), 'the API lists it with its archive state');

  console.log('sightings');
  await page.click('nav.tabs a[href="/sightings"]');
  await until(async () => await page.locator('.sighting').count() > 0, 'a code that was shown is kept', 90_000);
  const crop = page.locator('.sighting .crop img').first();
  await until(() => crop.evaluate((img) => img.complete && img.naturalWidth > 40), 'with its picture');
  check((await page.locator('.sighting h2').first().innerText()) === 'QR code', 'it says what it is, not what it says');
  await until(async () => await page.locator('.sighting .acts a').count() > 0, 'its clip is linked', 60_000);
  await shot('sightings');
  const seen = await page.locator('.sighting').count();
  await page.selectOption('select[name=kind]', 'plate');
  await shown('#no-sightings');
  await page.goto(`${url}/sightings?kind=qr`);
  check(await page.locator('.sighting').count() >= seen, 'they are filtered by what they are');
  await page.locator('.sighting .acts a').last().click();
  await page.waitForURL('**/clips?*');
  const shownMoment = page.locator('.clip video').first();
  await until(() => shownMoment.evaluate((video) => video.readyState >= 2 && (video.currentTime > 0 || video.ended)), 'the link plays the moment in its clip', 15_000);
  check(await page.locator('.clip').count() === 1, 'and only that clip is listed');
  await shot('sighting-in-its-clip');
  await page.goto(`${url}/sightings`);
  const doomed = await page.locator('.sighting').last().getAttribute('id');
  await page.locator(`[id="${doomed}"] [data-delete]`).click();
  await shown('#confirm[open]');
  await page.click('#confirm button[value=cancel]');
  check(await page.locator(`[id="${doomed}"]`).count() === 1, 'deleting asks first');
  await page.locator(`[id="${doomed}"] [data-delete]`).click();
  await page.click('#confirm button[value=delete]');
  await page.locator(`[id="${doomed}"]`).waitFor({ state: 'detached' });
  const gone = await page.request.get(`${url}/api/v1/sightings/${doomed.split(':')[1]}/crop`);
  check(gone.status() === 404, 'a deleted sighting and its picture are gone');

  console.log('plates');
  await page.click('nav.tabs a[href="/plates"]');
  await shown('#no-plates');
  await page.click('#add');
  await page.fill('#plate-dialog input[name=plate]', 'Ж1');
  await page.fill('#plate-dialog input[name=owner]', 'Ada Lovelace');
  await page.click('#plate-dialog .primary');
  await shown('#plate-dialog .problem[data-for=plate]');
  check(await page.locator('#plate-dialog .problem[data-for=plate]').innerText(), 'what is no plate is told at its field');
  await shot('plate-refused');
  await page.fill('#plate-dialog input[name=plate]', 'а123вс 77');
  await page.fill('#plate-dialog input[name=note]', 'blue, the second car');
  await page.fill('#plate-dialog input[name=to]', '2031-12-31');
  await page.click('#plate-dialog .primary');
  await shown('tr[data-plate=A123BC77]');
  check(true, 'a plate in Cyrillic is on the list in Latin');
  await page.click('tr[data-plate=A123BC77] button[name=edit]');
  check(await page.inputValue('#plate-dialog input[name=to]') === '2031-12-31', 'its last day comes back as it was typed');
  await page.selectOption('#plate-dialog select[name=standing]', 'watch');
  await page.click('#plate-dialog .primary');
  await shown('tr[data-plate=A123BC77][data-standing=watch]');
  const list = 'plate;owner;note;standing\nм001мм99;Mallory;;watch\nB-AB 1234;Bob;visitor;allow\n';
  await page.setInputFiles('#import', { name: 'plates.csv', mimeType: 'text/csv', buffer: Buffer.from(list) });
  await shown('tr[data-plate=BAB1234]');
  check(await page.locator('tr[data-plate]').count() === 3, 'a file is imported');
  await shot('plates');
  await page.click('tr[data-plate=BAB1234] button[name=delete]');
  await page.locator('tr[data-plate=BAB1234]').waitFor({ state: 'hidden' });
  await shot('plate-deleted');
  await page.click('.toast button');
  await page.locator('tr[data-plate=BAB1234]').waitFor({ state: 'visible' });
  await page.goto(`${url}/plates?search=${encodeURIComponent('м001')}`);
  check(await page.locator('tr[data-plate]').count() === 1, 'a delete is undone; a search in Cyrillic finds it');
  const back = await page.request.get(`${url}/plates.csv`);
  check(back.ok() && (await back.text()).includes('BAB1234'), 'the list can be exported');

  console.log('faces');
  await page.goto(`${url}/cameras`);
  const faces = page.locator('.switch[data-put$="/faces"]').first();
  await faces.click();
  await until(async () => await faces.getAttribute('aria-checked') === 'true' && !await faces.getAttribute('data-busy'), 'faces are switched on');
  await page.click('nav.tabs a[href="/faces"]');
  await shown('#no-people');
  // A picture with nobody in it, then the portrait that the demo's clip shows.
  const nobody = Buffer.from(await page.evaluate(async () => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [320, 240];
    canvas.getContext('2d').fillRect(0, 0, 320, 240);
    const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
    return [...new Uint8Array(await blob.arrayBuffer())];
  }));
  const portrait = readFileSync(new URL('../assets/demo/portrait.png', import.meta.url));
  await page.click('#add');
  await page.fill('#face-dialog input[name=person]', 'eileen');
  await page.setInputFiles('#face-dialog input[name=photos]', [{ name: 'nobody.png', mimeType: 'image/png', buffer: nobody }]);
  await shown('#face-dialog .photos li img');
  await page.click('#face-dialog .primary');
  await shown('#face-dialog .problem[data-for=words]');
  check(true, 'nobody is enrolled without consent');
  await page.check('#face-dialog input[name=agreed]');
  await page.click('#face-dialog .primary');
  await shown('#face-dialog .photos .refused');
  check((await page.locator('#face-dialog .photos .refused span').innerText()).toLowerCase().includes('no face'), 'a photo without a face says so');
  await page.setInputFiles('#face-dialog input[name=photos]', [{ name: 'eileen.png', mimeType: 'image/png', buffer: portrait }]);
  await until(async () => await page.locator('#face-dialog .photos li').count() === 2, 'another photo is added');
  await page.selectOption('#face-dialog select[name=camera]', { index: 1 });
  await until(async () => await page.locator('#face-dialog gv-player').getAttribute('state') === 'live', 'the camera is shown in the dialog');
  await page.click('#shoot');
  await until(async () => await page.locator('#face-dialog .photos li').count() === 3, 'a picture is taken from the camera');
  await shot('face-from-camera');
  await page.click('#face-dialog .primary');
  await shown('#face-dialog .photos .taken');
  await shot('face-enrolled');
  await page.click('#face-dialog button[value=cancel]');
  await shown('[id="person:eileen"] img');
  check(await page.locator('[id="person:eileen"] img').evaluate((img) => img.decode().then(() => img.naturalWidth > 60)), 'a person is shown with their face');
  await shot('faces');
  const knownAt = `${url}/sightings?kind=face&subject=eileen`;
  await until(async () => { await page.goto(knownAt); return await page.locator('.sighting').count() > 0 || sleep(2000).then(() => false); }, 'she is recognised when she comes to the camera', 90_000);
  await shot('face-recognised');
  await page.goto(`${url}/faces`);
  await page.click('#search');
  await page.setInputFiles('#search-dialog input[name=photo]', [{ name: 'eileen.png', mimeType: 'image/png', buffer: portrait }]);
  await shown('#search-dialog .photos li');
  check(await page.locator('#search-dialog .photos li').count() > 0, 'a photo finds when she was seen');
  await shot('face-search');
  await page.click('#search-dialog button[value=cancel]');
  await page.click('[data-forget]');
  await shown('#forget-dialog[open]');
  await page.click('#forget-dialog .primary');
  await shown('#no-people');
  await page.goto(knownAt);
  await shown('#no-sightings');
  check(true, 'who is forgotten leaves no sighting');
  const again = `${url}/faces`;
  await until(async () => { await page.goto(again); return await page.locator('.stranger .shots img').count() > 0 || sleep(2000).then(() => false); }, 'whom nobody knows is shown as a stranger', 120_000);
  await shot('strangers');
  await page.click('[data-name-group]');
  await page.fill('#face-dialog input[name=person]', 'eileen');
  await page.check('#face-dialog input[name=agreed]');
  await page.click('#face-dialog .primary');
  await shown('[id="person:eileen"]');
  check(true, 'a stranger is given a name');

  console.log('people');
  await page.click('nav.tabs a[href="/people"]');
  await shown('tr[data-name=ada]');
  check(await page.locator('tr[data-name]').count() === 2, 'the persons document was taken over');
  await page.click('#add');
  await page.fill('#person-dialog input[name=name]', 'zoe');
  await page.fill('#person-dialog input[name=title]', 'Zoë, second floor');
  await page.fill('#person-dialog input[name=groups]', 'residents');
  await page.click('#person-dialog .primary');
  await shown('tr[data-name=zoe]');
  await page.click('tr[data-name=zoe] button[name=keys]');
  await page.selectOption('#keys-dialog select[name=kind]', 'pin');
  check(await page.getAttribute('#keys-dialog input[name=key]', 'type') === 'password', 'a PIN is typed unseen');
  await page.fill('#keys-dialog input[name=key]', '12');
  await page.click('#keys-dialog .primary');
  await shown('#keys-dialog .problem[data-for=key]');
  await page.fill('#keys-dialog input[name=key]', '735192');
  await page.click('#keys-dialog .primary');
  await until(async () => await page.locator('#keys-dialog .held button').count() === 1, 'a PIN is given');
  await page.selectOption('#keys-dialog select[name=kind]', 'card');
  await page.fill('#keys-dialog input[name=key]', '04:a1:b2:c3:d4');
  await page.click('#keys-dialog .primary');
  await until(async () => (await page.locator('#keys-dialog .held').innerText()).includes('…C3D4'), 'a card is given, its end is shown');
  await shot('person-keys');
  await page.locator('#keys-dialog .held li', { hasText: 'Card' }).locator('button').first().click();
  await until(async () => (await page.locator('#keys-dialog .held').innerText()).includes('withdrawn'), 'it is withdrawn');
  await page.locator('#keys-dialog .held li', { hasText: 'Card' }).locator('button').first().click();
  await until(async () => !(await page.locator('#keys-dialog .held').innerText()).includes('withdrawn'), 'and given back');
  await page.click('#keys-dialog button[value=cancel]');
  await until(async () => (await page.locator('tr[data-name=zoe] .keys').innerText().catch(() => '')).includes('C3D4'), 'the page shows what she carries', 8000);
  check(!(await page.content()).includes('735192'), 'but no PIN');
  await page.click('tr[data-name=zoe] button[name=delete]');
  await page.locator('tr[data-name=zoe]').waitFor({ state: 'hidden' });
  await page.click('.toast button');
  await page.locator('tr[data-name=zoe]').waitFor({ state: 'visible' });
  console.log('  ok  a person is added, removed and brought back');
  await shot('people');

  console.log('rules');
  await page.click('nav.tabs a[href="/rules"]');
  await page.click('#tab-text');
  await shown('#rules textarea');
  await until(async () => (await page.locator('#verdict').innerText()).includes('3 rules'), 'the rules are right');
  const written = await page.inputValue('#rules textarea');
  await page.fill('#rules textarea', written.replace('by = ["qr"]', 'by = ["key"]'));
  await until(async () => /Line \d+, column \d+/.test(await page.locator('#verdict').innerText()), 'a mistake is told with its place');
  check(await page.locator('#rules .primary').isDisabled(), 'and cannot be saved');
  await page.click('#verdict');
  check((await page.evaluate(() => { const { value, selectionStart } = document.querySelector('#rules textarea'); return value.slice(selectionStart); })).startsWith('"key"'), 'a click goes to it');
  await shot('rules-wrong');
  const night = `${written}\n[[rule]]\nname = "zoe-by-card"\npermit = ["zoe"]\ndoors = ["front-door"]\nby = ["card"]\n`;
  await page.fill('#rules textarea', night);
  await until(async () => !await page.locator('#rules .primary').isDisabled(), 'right again');
  await page.fill('#ask input[name=person]', 'zoe');
  await page.click('#ask button');
  await until(async () => (await page.locator('#answer').innerText()).includes('zoe-by-card'), 'a question is answered by the draft');
  check((await page.locator('#answer .said').innerText()).includes('Would be admitted'), 'she would be admitted');
  await page.click('#rules .primary');
  await shown('#diff-dialog[open]');
  check(await page.locator('.diff .added').count() > 0 && await page.locator('.diff .removed').count() === 0, 'what changes is shown before saving');
  await shot('rules-diff');
  await page.click('#diff-dialog .primary');
  await until(async () => (await page.locator('#verdict').innerText().catch(() => '')).includes('4 rules'), 'they are saved', 8000);
  await page.locator('[data-version]').first().click();
  await shown('#diff-dialog[open]');
  await page.click('#diff-dialog .primary');
  await until(async () => (await page.locator('#verdict').innerText().catch(() => '')).includes('3 rules'), 'the version before is in force again', 8000);
  check(await page.inputValue('#rules textarea') === written, 'as it was written');
  await shot('rules');

  await forms({ page, url, shot });

  console.log('board');
  await page.click('nav.tabs a[href="/board"]');
  await shown('.lane');
  check(/GO|STOP|WAIT/.test(await page.locator('.light .word').first().innerText()), 'the lamp says it in a word');
  await page.setViewportSize({ width: 1920, height: 1080 });
  const size = await page.locator('.light').first().boundingBox();
  check(size.width >= 300, `and is large: ${Math.round(size.width)} px`);
  await page.locator('button[data-open]').first().click();
  await shown('#confirm[open]');
  await page.click('#confirm button[value=open]');
  await shown('#confirm .problem');
  check(await page.locator('#confirm .problem').innerText(), 'nobody opens without a reason');
  await page.fill('#confirm input[name=reason]', 'a walk through the pages');
  await page.click('#confirm button[value=open]');
  const pressed = Date.now();
  await until(async () => await page.locator('.signal.go').count() > 0, 'the lamp says GO', 4000);
  console.log(`  ok  the lamp says GO ${Date.now() - pressed} ms after the click`);
  check((await page.locator('.last').first().innerText()).includes('By hand'), 'with who and why');
  await shot('board');
  await until(async () => await page.locator('.signal.stop').count() > 0, 'and STOP again', 10_000);
  // A person who held up a pass has a picture, once the camera has seen one.
  await until(async () => await page.locator('.last img').count() > 0, 'who came last is shown', 90_000);
  await until(() => page.locator('.last img').first().evaluate((img) => img.complete && img.naturalWidth > 40), 'with a picture');
  await until(async () => await page.locator('.last a').count() > 0 || sleep(1000).then(() => false), 'and the clip around it', 90_000);
  await shot('board-person');
  await page.locator('.last a').first().click();
  await page.waitForURL('**/clips?*');
  const decided = page.locator('.clip video').first();
  await until(() => decided.evaluate((video) => video.readyState >= 2 && (video.currentTime > 0 || video.ended)), 'the clip plays at that moment', 15_000);
  check(await page.locator('.marks li').count() > 0, 'and names the decision');
  await page.locator('.marks a', { hasText: 'Journal' }).first().click();
  await page.waitForURL('**/journal?*');
  await until(async () => await page.locator('.entry .clip-link').count() > 0, 'the journal leads to the clip too');
  await page.setViewportSize({ width: 1280, height: 900 });

  console.log('doors');
  await page.click('nav.tabs a[href="/doors"]');
  await shown('.doorway');
  // A pass may open the door at the same time: only decisions about our own hand count.
  const byHand = () => page.locator('.doorway').first().locator('.decisions li', { hasText: 'By hand' })
    .evaluateAll((all) => all.map((one) => `${one.innerText} ${one.querySelector('gv-time')?.getAttribute('datetime')}`));
  const before = await byHand();
  await page.locator('button[data-open]').first().click();
  await shown('#confirm[open]');
  await page.fill('#confirm input[name=reason]', 'a parcel');
  await shot('door-confirm');
  await page.click('#confirm button[value=open]');
  await shown('.toast');
  const said = await page.locator('.toast').first().innerText();
  check(!await page.locator('.toast.bad').count(), `the door is opened by hand: ${said}`);
  const listed = await until(async () => (await byHand()).find((one) => one.includes(user) && !before.includes(one)), 'the decision is listed', 8000);
  console.log(`  ok  the decision is listed: ${listed.replaceAll(/\s+/g, ' ')}`);
  await shot('doors');
  await page.locator('[data-setup=""]').first().click();
  await shown('#setup-dialog[open] #relay-driver');
  await page.fill('#setup-dialog input[name=name]', 'back-door');
  await page.click('#setup-dialog .primary');
  await shown('#setup-dialog .problem[data-for=relay]');
  check(true, 'a door without a relay is refused at its field');
  await page.selectOption('#relay-driver', 'address');
  await page.fill('#setup-dialog [data-key=address]', 'simulated://?channels=2');
  await page.fill('#setup-dialog [data-key=channel]', '1');
  await page.click('#setup-dialog [name=read]');
  await until(async () => (await page.locator('#setup-dialog .reading').innerText()).includes('contact is off'), 'the relay is read before it is saved');
  await shot('door-setup');
  await page.click('#setup-dialog .primary');
  await shown('[id="door:back-door"]');
  await page.locator('[data-setup="back-door"]').click();
  await shown('#setup-dialog[open] [data-key="relay.channels"]');
  check(await page.inputValue('#setup-dialog [data-key="relay.channels"]') === '2' && await page.inputValue('#setup-dialog [data-key=channel]') === '1', 'what is no secret of it comes back');
  await page.click('#setup-dialog [name=remove]');
  await page.click('#setup-dialog [name=remove]');
  await page.locator('[id="door:back-door"]').waitFor({ state: 'detached' });
  console.log('  ok  a door is added, read, and removed');

  console.log('journal');
  await page.click('nav.tabs a[href="/journal"]');
  await shown('.entry');
  const services = [...new Set(await page.locator('.entry .service').allInnerTexts())];
  check(services.length > 1, `it has entries of ${services.join(', ')}`);
  const pictured = page.locator('.entry .seen img').first();
  await until(() => pictured.evaluate((img) => img.complete && img.naturalWidth > 40), 'a sighting has its picture beside its line', 60_000);
  await shot('journal');
  await page.click('.chain summary');
  check(/^\d+:[0-9a-f]{64}$/.test((await page.locator('#head').innerText()).trim()), 'the head of the chain can be noted');
  const one = services.find((service) => service !== 'web') ?? services[0];
  await page.locator('.entry .service', { hasText: one }).first().click();
  await page.waitForURL('**/journal?*service=*');
  const filtered = await page.locator('.entry .service').allInnerTexts();
  check(filtered.length > 0 && filtered.every((service) => service === one || service.startsWith(`${one}/`)), `only ${one} is shown (${filtered.length} entries)`);
  await shot('journal-filtered');
  await page.goto(`${url}/journal?from=2000-01-01T00:00:00.000Z&to=2000-01-02T00:00:00.000Z`);
  await shown('#no-entries');
  check(true, 'a period without entries says so');
  const csv = await page.request.get(`${url}/journal.csv`);
  check(csv.ok() && (await csv.text()).includes(one), 'it can be exported');

  console.log('small screen');
  await page.setViewportSize({ width: 390, height: 780 });
  for (const name of ['cameras', 'clips', 'sightings', 'plates', 'faces', 'people', 'passes', 'pass-keys', 'rules', 'doors', 'board', 'journal']) {
    await page.goto(`${url}/${name}`);
    await sleep(name === 'cameras' ? 1500 : 300);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    check(wide <= 0, `${name} fits a telephone`);
    await shot(`small-${name}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });

  console.log('signing out');
  await page.goto(`${url}/cameras`);
  await page.click('details.me summary');
  await page.click('form[action="/logout"] button');
  await page.waitForURL('**/login*');
  await page.goto(`${url}/cameras`);
  check(new URL(page.url()).pathname === '/login', 'the pages are closed again');
  check((await page.request.get(`${url}/api/v1/cameras`)).status() === 401, 'and so is the API');

  check(problems.length === 0, `no errors in the console${problems.map((problem) => `\n      ${problem}`).join('')}`);
} catch (error) {
  await shot('failed').catch?.(() => {});
  problems.forEach((problem) => console.error(`in the console: ${problem}`));
  throw error;
} finally {
  await close();
}
