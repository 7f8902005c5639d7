/** The door board: it hears of a change from the server within a moment, keeps the screen awake, and fills a wall. */
import { refresh } from './app.js';

const board = document.getElementById('board');
const AGAIN_MS = 2000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks the server to answer when something has changed; it answers after some seconds even if nothing has. */
async function listen() {
  let { revision } = board.dataset;
  for (;;) {
    if (document.hidden) {
      await new Promise((done) => document.addEventListener('visibilitychange', done, { once: true }));
      continue;
    }
    try {
      const response = await fetch(`/api/v1/doors/changes?since=${revision}`, { cache: 'no-store', signal: AbortSignal.timeout(30_000) });
      if (response.status === 401) return location.reload();
      if (!response.ok) throw new Error(response.statusText);
      const next = (await response.json()).revision;
      if (next !== revision) {
        revision = next;
        await refresh();
      }
    } catch {
      // The page's own refresh says that the server does not answer.
      await pause(AGAIN_MS);
    }
  }
}
listen();

document.getElementById('wall').addEventListener('click', async () => {
  await document.getElementById('main').requestFullscreen?.();
  await navigator.wakeLock?.request('screen').catch(() => {});
});
