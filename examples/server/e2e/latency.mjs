// From a frame's birth to its pixels in a browser, and what happens when the camera or the server goes away.
//
//   node e2e/latency.mjs PATH/TO/live_bench [seconds]
//
// `live_bench` draws the moment into each frame; the page reads it back from the pixels it shows, on the same clock.
import { spawn, execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { browser, check, percentile, sleep, until } from './browser.mjs';

// Bars of DESIGN section 7 are 120 / 300 ms and 500 ms; the first bar of the project is a p50 of 300 ms. A loaded
// CI machine decodes in software beside the encoder, so the hard limits here are the first bar and twice the others.
const LIMITS = { p50: 300, p95: 600, first: 1000 };
const [bench, seconds = '15'] = process.argv.slice(2);
if (!bench) throw new Error('usage: node latency.mjs PATH/TO/live_bench [seconds]');

let server;
async function serve(listen) {
  server = spawn(bench, listen ? ['serve', listen] : ['serve'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface(server.stdout), 'line');
  return line;
}
async function stop() {
  if (server.exitCode !== null) return;
  server.kill('SIGKILL');
  await once(server, 'exit');
}

/** A proxy to `port` whose way to the browser carries `limit.bytesPerSecond`. */
async function slowLink(port, limit) {
  const proxy = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    near.pipe(far);
    far.on('data', async (data) => {
      far.pause();
      for (let at = 0; at < data.length && !near.destroyed; at += 4096) {
        const part = data.subarray(at, at + 4096);
        if (!near.write(part)) await Promise.race([once(near, 'drain'), once(near, 'close')]).catch(() => {});
        await sleep(part.length / limit.bytesPerSecond * 1000);
      }
      far.resume();
    });
    near.on('close', () => far.destroy()).on('error', () => far.destroy());
    far.on('close', () => near.destroy()).on('error', () => near.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return proxy;
}

/** In the page: reads the moment out of each shown frame of the first player into `window.samples`. */
function readBack() {
  const BLOCKS = 28, canvas = document.createElement('canvas');
  canvas.width = BLOCKS * 4;
  canvas.height = 8;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  window.samples = [];
  window.unreadable = 0;
  window.readMoment = (element) => {
    const width = element.videoWidth || element.width, block = width / 40;
    pen.drawImage(element, 0, 0, BLOCKS * block, 2 * block, 0, 0, canvas.width, canvas.height);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    let bits = 0n;
    for (let row = 0; row < 2; row++) {
      for (let bit = 0; bit < BLOCKS; bit++) bits = bits << 1n | BigInt(data[((row * 4 + 2) * canvas.width + bit * 4 + 2) * 4] > 128);
    }
    const moment = bits >> 8n;
    let sum = 0;
    for (let shift = 56n; shift >= 0n; shift -= 8n) sum = (Math.imul(sum, 31) + Number(moment >> shift & 255n)) & 255;
    return sum === Number(bits & 255n) ? Number(moment) : undefined;
  };
  const player = document.querySelector('gv-player');
  const follow = (video) => {
    const step = (_, frame) => {
      const moment = window.readMoment(video);
      if (moment) window.samples.push({ at: Date.now(), moment, latency: Date.now() - moment, width: video.videoWidth, media: frame.mediaTime });
      else window.unreadable++;
      if (video.isConnected) video.requestVideoFrameCallback(step);
    };
    video.requestVideoFrameCallback(step);
  };
  player.addEventListener('gv-picture', () => player.picture instanceof HTMLVideoElement && follow(player.picture));
  if (player.picture instanceof HTMLVideoElement) follow(player.picture);
}

const url = await serve();
const expected = [/WebSocket connection/, /ERR_CONNECTION_REFUSED/, /ERR_CONNECTION_RESET/];
const { page, problems, close } = await browser({ expected });
const stats = () => page.evaluate(() => document.querySelector('gv-player').stats);
const recent = (ms) => page.evaluate((ms) => window.samples.filter((one) => one.at > Date.now() - ms), ms);
const post = (what) => fetch(`${url}/control/${what}`, { method: 'POST' });
const line = (title, samples) => {
  const latencies = samples.map((one) => one.latency);
  const result = { p50: percentile(latencies, 0.5), p95: percentile(latencies, 0.95), max: Math.max(...latencies), frames: latencies.length };
  console.log(`${title}: p50 ${result.p50} ms, p95 ${result.p95} ms, max ${result.max} ms, ${result.frames} frames`);
  return result;
};

try {
  const firsts = [];
  for (let join = 0; join < 5; join++) {
    await page.goto(url);
    await page.evaluate(readBack);
    firsts.push((await until(async () => (await stats()).firstPictureMs, 'a first picture')));
    await sleep(300);
  }
  console.log(`first picture: ${firsts.map((ms) => Math.round(ms)).join(', ')} ms`);
  check(percentile(firsts, 0.5) <= LIMITS.first, `the first picture comes within ${LIMITS.first} ms`);

  await sleep(1000 * Number(seconds));
  const report = await (await fetch(`${url}/report`)).json();
  const steady = line('frame to pixels', await recent(1000 * (Number(seconds) - 1)));
  console.log('player', JSON.stringify(await stats()), 'unreadable', await page.evaluate('window.unreadable'));
  console.log('camera', JSON.stringify(report));
  check(steady.frames > 20 * (Number(seconds) - 1) * 0.8, 'at least 20 frames a second are shown');
  check(steady.p50 <= LIMITS.p50 && steady.p95 <= LIMITS.p95, `p50 <= ${LIMITS.p50} ms and p95 <= ${LIMITS.p95} ms`);
  const estimate = (await stats()).latencyMs;
  check(Math.abs(estimate - steady.p50) < 120, `the player's own estimate (${Math.round(estimate)} ms) agrees`);

  console.log('the camera skips 0.4 s in the middle of a group, five times');
  await page.evaluate(() => { window.samples.length = 0; });
  for (let turn = 0; turn < 5; turn++) {
    await post('stall?ms=400');
    await sleep(1130);
  }
  const shown = (await recent(6000)).map((one) => one.at);
  const gap = Math.max(...shown.slice(1).map((at, index) => at - shown[index]));
  check(gap < 900, `it goes on with the next frame, not with the next key frame (longest pause ${gap} ms)`);

  console.log('the camera pauses for 5 s');
  await post('stall?ms=5000');
  await until(async () => (await stats()).state === 'stalled', 'the player says that it stalled', 6000);
  await until(async () => (await stats()).state === 'live', 'live again', 6000);
  await sleep(3000);
  check(percentile((await recent(1000)).map((one) => one.latency), 0.5) <= 500, '3 s after it came back the delay is under 500 ms');

  console.log('the camera changes its picture size');
  await post('size?width=640');
  await until(async () => (await recent(500)).some((one) => one.width === 640), 'pictures of the new size', 5000);
  await sleep(1500);
  check((await recent(1000)).length > 15, 'and they keep coming');
  await post('size?width=1280');
  await until(async () => (await recent(500)).some((one) => one.width === 1280), 'the old size again', 5000);

  console.log('the camera is lost for 4 s');
  await post('offline?ms=4000');
  await until(async () => (await stats()).state === 'offline', 'the player says so', 2000);
  check((await page.locator('[data-testid=player-note]').textContent()).includes('connection refused (bench)'), 'with the reason');
  await until(async () => (await stats()).state === 'live' && (await recent(300)).length > 3, 'live again', 8000);
  console.log('  ok  and goes on without a reload');

  console.log('the server restarts');
  await stop();
  await until(async () => (await stats()).state === 'connecting', 'the player says that it connects', 5000);
  await serve(new URL(url).host);
  const back = Date.now();
  await until(() => page.evaluate((back) => window.samples.some((one) => one.moment > back), back), 'new pictures', 8000);
  console.log(`  ok  new pictures ${Date.now() - back} ms after the server is back`);

  console.log('the page is hidden');
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await hide(true);
  await until(async () => (await stats()).state === 'paused', 'the player pauses', 4000);
  await until(async () => (await (await fetch(`${url}/report`)).json()).viewers === 0, 'nothing is sent', 1000);
  await hide(false);
  await until(async () => (await stats()).state === 'live' && (await recent(300)).length > 3, 'live again', 4000);
  console.log(`  ok  nothing is sent to it, and it is live ${Math.round((await stats()).lastJoinMs)} ms after it is shown again`);

  console.log('a link of 0.8 Mbit/s');
  const limit = { bytesPerSecond: 100_000 };
  const proxy = await slowLink(new URL(url).port, limit);
  await page.goto(`http://127.0.0.1:${proxy.address().port}/`);
  await page.evaluate(readBack);
  await sleep(20_000);
  // At half the stream's rate a group in two or three comes through, so several groups' time is looked at.
  const lagging = await recent(16_000), told = await stats();
  const slow = line('through it', lagging);
  console.log('player', JSON.stringify(told));
  check(told.dropped > 0 && slow.frames > 10, `whole groups are left out (${told.dropped} fragments), others are shown`);
  check(slow.max < 8000, 'and the delay does not grow');
  limit.bytesPerSecond = 100_000_000;
  await sleep(4000);
  check(percentile((await recent(1000)).map((one) => one.latency), 0.5) <= 500, 'when the link is good again, the delay is gone within 4 s');
  await page.goto(url);
  await page.evaluate(readBack);
  proxy.close();

  console.log('Motion JPEG');
  await page.evaluate(() => document.querySelector('gv-player').setAttribute('src', '/jpeg'));
  await until(async () => { const now = await stats(); return now.mime === 'image/jpeg' && now.pictures > 5; }, 'images', 5000);
  const jpeg = await page.evaluate(async () => {
    const seen = [];
    for (let turn = 0; turn < 30; turn++) {
      await new Promise(requestAnimationFrame);
      const moment = window.readMoment(document.querySelector('gv-player').picture);
      if (moment && seen.at(-1)?.moment !== moment) seen.push({ moment, latency: Date.now() - moment });
      await new Promise((done) => setTimeout(done, 30));
    }
    return seen;
  });
  check(jpeg.length > 5, `images move (${jpeg.length} different, p50 ${percentile(jpeg.map((one) => one.latency), 0.5)} ms old)`);

  console.log('a codec that the browser does not have');
  const h265 = await page.evaluate(() => MediaSource.isTypeSupported('video/mp4; codecs="hvc1.1.6.L93.B0"'));
  await page.evaluate(() => document.querySelector('gv-player').setAttribute('src', '/h265'));
  if (!h265) {
    await until(async () => (await stats()).state === 'unsupported', 'the player says so', 3000);
    const note = await page.locator('[data-testid=player-note]').textContent();
    check(note.includes('H.265') && note.includes('H.264'), `plainly: ${note}`);
  }

  console.log('a wall of 16');
  await page.goto(`${url}/grid`);
  await until(() => page.evaluate(() => document.querySelectorAll('gv-player[state=live]').length >= 12), 'those on screen are live', 15_000);
  await sleep(4000);
  const wall = await page.evaluate(() => [...document.querySelectorAll('gv-player')].map((player) => player.stats));
  const live = wall.filter((one) => one.state === 'live');
  console.log(`  ok  ${live.length} live, reserve ${live.map((one) => Math.round(one.bufferedAhead * 1000)).join(' ')} ms`);

  console.log('200 viewers');
  await page.goto('about:blank');
  await sleep(1000);
  const measure = async (ms) => {
    const before = await (await fetch(`${url}/report`)).json();
    await sleep(ms);
    const after = await (await fetch(`${url}/report`)).json();
    return { cores: (after.cpu_s - before.cpu_s) / (ms / 1000), rss_mib: after.rss_mib, viewers: after.viewers, bits: (after.bytes - before.bytes) * 8 / (ms / 1000), dropped: after.dropped - before.dropped };
  };
  const alone = await measure(5000);
  const viewers = promisify(execFile)(bench, ['load', `${url.replace('http', 'ws')}/live`, '200', '12']);
  await sleep(4000);
  const crowd = await measure(5000);
  console.log('load', (await viewers).stdout.trim());
  console.log(`camera ${(crowd.bits / 1e6).toFixed(2)} Mbit/s; ${alone.viewers} viewers ${(100 * alone.cores).toFixed(1)} % of a core, ${alone.rss_mib} MiB; ` +
    `${crowd.viewers} viewers ${(100 * crowd.cores).toFixed(1)} %, ${crowd.rss_mib} MiB; dropped ${crowd.dropped}`);
  check(crowd.viewers === 200, '200 watch');

  check(problems.length === 0, `no errors in the console${problems.map((one) => `\n      ${one}`).join('')}`);
} finally {
  await close();
  await stop();
}
