/** The clips page: a still picture of each clip once it comes into view, and the clip itself on a click. */

const list = document.getElementById('clips');

/** Stills are fetched a few at a time: each is a read from the disk or from a distant archive. */
const STILLS_AT_ONCE = 2;
const STILL_TIMEOUT_MS = 15_000;
const waiting = [];
let loading = 0;

function nextStill() {
  while (loading < STILLS_AT_ONCE && waiting.length) {
    const stage = waiting.shift();
    if (!stage.isConnected || stage.querySelector('video')) continue;
    loading += 1;
    const video = document.createElement('video');
    video.muted = true;
    video.playsInline = true;
    video.preload = 'metadata';
    video.tabIndex = -1;
    const done = () => {
      clearTimeout(timer);
      loading -= 1;
      nextStill();
    };
    const timer = setTimeout(done, STILL_TIMEOUT_MS);
    const once = (kind) => video.addEventListener(kind, () => !video.dataset.done && (video.dataset.done = 'yes') && done());
    once('loadeddata');
    once('error');
    video.addEventListener('error', () => stage.classList.contains('playing') ? broken(stage) : video.remove());
    video.src = `${stage.dataset.video}#t=0.01`;
    stage.prepend(video);
  }
}

function broken(stage) {
  stage.querySelector('video')?.remove();
  stage.classList.remove('playing');
  const note = stage.querySelector('.problem') ?? document.createElement('p');
  note.className = 'problem';
  note.textContent = list.dataset.failed;
  stage.append(note);
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    waiting.push(target);
  }
  nextStill();
}, { rootMargin: '200px' });

const watched = new WeakSet();
function watch() {
  for (const stage of list.querySelectorAll('.stage[data-video]')) {
    if (watched.has(stage)) continue;
    watched.add(stage);
    seen.observe(stage);
  }
}
watch();
document.addEventListener('gv-list', watch);

/** Plays a clip, from `seconds` after its beginning. */
function play(stage, seconds = 0) {
  for (const other of list.querySelectorAll('.playing video')) other.pause();
  stage.querySelector('.problem')?.remove();
  stage.querySelector('video')?.remove();
  const video = document.createElement('video');
  video.controls = true;
  video.playsInline = true;
  video.autoplay = true;
  video.src = seconds > 0 ? `${stage.dataset.video}#t=${seconds}` : stage.dataset.video;
  video.addEventListener('error', () => broken(stage));
  stage.classList.add('playing');
  stage.prepend(video);
  video.focus();
}

list.addEventListener('click', (event) => {
  const stage = event.target.closest('.play')?.closest('.stage');
  if (stage) play(stage);
});

// A sighting or decision leads to the moment in its clip.
function goToMoment() {
  const moment = /^#at=(\d{1,6})$/.exec(location.hash);
  const first = list.querySelector('.stage[data-video]');
  if (!moment || !first) return;
  play(first, Number(moment[1]));
  history.replaceState(null, '', location.pathname + location.search);
}
addEventListener('hashchange', goToMoment);
goToMoment();
