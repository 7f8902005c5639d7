/** A keypad: digits go to the reader and are forgotten at once; what the reader shows comes back as server-sent events. */
const keypad = document.querySelector('.keypad');
const [says, dots] = [keypad.querySelector('.says'), keypad.querySelector('.dots')];
const DIGITS_MAX = 12;
/** Somebody who leaves in the middle leaves nothing for whoever comes next. */
const FORGET_MS = 10_000;
const AGAIN_MS = 2000;

let typed = '';
let forget;
let sound;

function draw() {
  dots.textContent = '•'.repeat(typed.length);
}

function clear() {
  typed = '';
  clearTimeout(forget);
  draw();
}

function show(shows, wait = 0) {
  if (shows === 'refused' && keypad.dataset.shows !== 'refused') beep(3, 0.1, 0.5);
  if (shows === 'open' && keypad.dataset.shows !== 'open') beep(1, 0.4, 1);
  keypad.dataset.shows = shows;
  says.textContent = wait > 0 ? keypad.dataset.wait.replace('{0}', wait) : keypad.dataset[shows] ?? '';
}

/** Beeps, once somebody has touched the page: before that browsers play nothing. */
function beep(times, seconds, every) {
  if (!sound) return;
  for (let index = 0; index < times; index += 1) {
    const tone = sound.createOscillator();
    tone.frequency.value = times > 1 ? 440 : 880;
    tone.connect(sound.destination);
    tone.start(sound.currentTime + index * every);
    tone.stop(sound.currentTime + index * every + seconds);
  }
}

async function send() {
  const body = typed;
  clear();
  if (!body) return;
  try {
    const answer = await fetch(location.pathname, { method: 'POST', body, headers: { 'content-type': 'text/plain' }, cache: 'no-store' });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
  } catch (error) {
    says.textContent = error instanceof TypeError ? keypad.dataset.lost : error.message;
  }
}

function press(key) {
  if (typeof AudioContext !== 'undefined') sound ??= new AudioContext();
  if (key === 'enter') return void send();
  if (key === 'clear') return clear();
  if (typed.length < DIGITS_MAX) typed += key;
  clearTimeout(forget);
  forget = setTimeout(clear, FORGET_MS);
  draw();
}

keypad.querySelector('.digits').addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button) press(button.value);
});
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const key = { Enter: 'enter', Escape: 'clear', Backspace: 'clear' }[event.key] ?? event.key;
  if (/^([0-9]|enter|clear)$/.test(key)) {
    event.preventDefault();
    press(key);
  }
});

function listen() {
  const events = new EventSource(`${location.pathname}/shown`);
  events.addEventListener('message', ({ data }) => {
    const { shows, wait } = JSON.parse(data);
    show(shows, wait);
  });
  events.addEventListener('gone', () => {
    events.close();
    show('gone');
  });
  events.addEventListener('error', () => {
    show('lost');
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  });
}
listen();
navigator.wakeLock?.request('screen').catch(() => {});
