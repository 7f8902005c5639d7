/**
 * <gv-player src="/api/v1/cameras/yard/live" name="Yard"></gv-player>: live view of one camera.
 *
 * Speaks the protocol of `src/web/live.rs`: fMP4 over WebSocket into Media Source Extensions (ManagedMediaSource where
 * that is what the browser has), JPEG images onto a canvas. No dependencies; no inline style or script, so a strict
 * content security policy holds: it needs `connect-src 'self'; media-src 'self' blob:` and the stylesheet `live.css`.
 *
 * What it watches over:
 * - Delay. The slack (how long before its turn a frame arrives) is steered to a small target by playing a few percent
 *   faster or slower; half a second too much is jumped over. The target grows when frames come late.
 * - Irregular cameras. A browser drops everything up to the next key frame after a step in time of more than twice the
 *   stated duration of a frame, and a camera's frames do skip; so each frame is stated to last FRAME_LASTS_S, which the
 *   next one cuts short, and nothing here relies on where the buffer ends.
 * - Memory. What was played is removed up to a key frame.
 * - Truth. The attribute `state` and a line of text always say what is shown: connecting, live, stalled, offline,
 *   unsupported, refused, paused, failed. An old picture is never passed off as live.
 *
 * - What moves. A button draws boxes around it, over the frame in which it was seen and for BOX_LASTS_MS after.
 *
 * `player.stats` is a snapshot of counters for tests and for the curious. Events: `gv-state` {state, note}, `gv-picture`.
 */

const WORDS = {
  en: {
    connecting: 'Connecting…', waiting: 'Waiting for the camera…', live: 'Live', paused: 'Paused',
    stalled: 'No picture for {0} s', offline: 'Camera: {0}', lost: 'Connection lost; next try in {0} s',
    signedOut: 'Signed out: sign in again', forbidden: 'You may not watch this camera', unknown: 'There is no such camera',
    unsupported: 'This browser cannot play {0}. Choose the camera’s H.264 sub-stream for live view.',
    noMse: 'This browser has no Media Source Extensions. Use a current one.', decode: 'The picture cannot be decoded; trying again',
    click: 'Press play to start', play: 'Play', pause: 'Pause', mute: 'Mute', unmute: 'Unmute', snapshot: 'Save a picture',
    fullscreen: 'Full screen', marks: 'Show what moves', unmarks: 'Hide what moves', label: 'Live view of {0}',
    states: { connecting: 'connecting', stalled: 'no pictures are coming', backing_off: 'lost, waiting to reconnect',
      needs_attention: 'needs attention', stopped: 'switched off', online: 'online' },
    rests: { left: 'left {0} ago', taken: 'taken {0} ago', unsure: 'left or taken {0} ago' },
  },
  ru: {
    connecting: 'Соединение…', waiting: 'Ждём камеру…', live: 'Прямой эфир', paused: 'Пауза',
    stalled: 'Нет картинки {0} с', offline: 'Камера: {0}', lost: 'Связь потеряна; повтор через {0} с',
    signedOut: 'Сеанс окончен: войдите снова', forbidden: 'Эту камеру смотреть нельзя', unknown: 'Такой камеры нет',
    unsupported: 'Браузер не воспроизводит {0}. Выберите для просмотра поток камеры H.264.',
    noMse: 'В браузере нет Media Source Extensions. Обновите его.', decode: 'Картинка не декодируется; пробуем снова',
    click: 'Нажмите «Смотреть»', play: 'Смотреть', pause: 'Пауза', mute: 'Без звука', unmute: 'Со звуком', snapshot: 'Сохранить кадр',
    fullscreen: 'На весь экран', marks: 'Показать движение', unmarks: 'Скрыть движение', label: 'Прямой эфир: {0}',
    states: { connecting: 'соединение', stalled: 'картинки не приходят', backing_off: 'потеряна, ждём повтора',
      needs_attention: 'нужно вмешательство', stopped: 'выключена', online: 'в сети' },
    rests: { left: 'оставлено {0} назад', taken: 'взято {0} назад', unsure: 'изменилось {0} назад' },
  },
};

/** Seconds of slack that the steering aims at (append, decode, a tick of the compositor), and at most after late frames. */
const SLACK_S = 0.025, SLACK_MAX_S = 0.3;
/** Added to the target for each late frame, and taken off it in a second. */
const LATE_ADDS_S = 0.008, CALM_TAKES_S = 0.004;
/** Slack this much above its target is jumped over, not played off; so is lateness beyond the second. */
const JUMP_OVER_S = 0.5, JUMP_BACK_S = 0.25;
/** How long a frame is stated to last, in seconds: twice that is the longest step in time that is played through. */
const FRAME_LASTS_S = 2;
/** Largest change of speed: not visible, and not audible as pitch. */
const STEER_MAX = 0.06;
/** If most of so many frames came late, playback is braked by so much until they do not: the link is slower than the stream. */
const LATELY = 7, BRAKE = 0.5;
/** The smallest slack of the last moments counts: that is what jitter leaves. */
const SLACK_WINDOW_MS = 1000;
/** On joining, fragments that come closer together than this are one burst. */
const BURST_GAP_MS = 20, BURST_MAX_MS = 200;
/** Played seconds kept, and kept at most before they are removed. */
const KEEP_S = 4, KEEP_MAX_S = 10;
/** Bytes that may wait for the browser's buffer before the view is begun anew. */
const QUEUE_BYTES_MAX = 32 << 20;
const STALLED_MS = 3000;
/** The server says something at least every 10 s. */
const SILENCE_MAX_MS = 25_000;
const RETRY_MIN_MS = 400, RETRY_MAX_MS = 15_000;
/** Leaving the screen for less than this does not end the view. */
const HIDDEN_GRACE_MS = 2000;
/** The server counts on the last acknowledgement within half a second. */
const ACK_EVERY = 8, ACK_LATEST_MS = 200;

/** Reports of motion come several times a second while it lasts; a box that is not renewed for so long is not believed. */
const BOX_LASTS_MS = 1500;
/** Things at rest are reported every 10 s; their ages are written anew more often. */
const REST_LASTS_MS = 60_000, REST_AGE_EVERY_MS = 2000;

const unixMs = () => performance.timeOrigin + performance.now();
const fill = (text, value) => text.replace('{0}', value);

/** Outlines of the buttons, on 16 x 16. */
const ICONS = {
  play: 'M4 2.5 13 8l-9 5.5z', pause: 'M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z',
  loud: 'M2 6h2.5L8 3v10L4.5 10H2zM10 5.2q2 2.800 0 5.6l.9.7q2.6-3.5 0-7zM12 3.5q3 4.5 0 9l.9.6q3.400-5.100 0-10.2z',
  muted: 'M2 6h2.5L8 3v10L4.5 10H2zM10 6.2l.9-.9 4 4-.9.9zM14 5.300l.9.9-4 4-.9-.9z',
  snapshot: 'M2 4.5h2.700L6 3h4l1.300 1.5H14V13H2zM8 6a2.6 2.6 0 1 0 0 5.2A2.6 2.6 0 0 0 8 6z',
  marks: 'M2 2h4v1.5H3.500V6H2zM10 2h4v4h-1.5V3.500H10zM2 10h1.5v2.500H6V14H2zM12.500 10H14v4h-4v-1.500h2.500zM6 6h4v4H6z',
  fullscreen: 'M2 2h4.5v1.5h-3v3H2zM9.5 2H14v4.5h-1.5v-3h-3zM2 9.5h1.5v3h3V14H2zM12.5 9.5H14V14H9.5v-1.5h3z',
};

const space = 'http://www.w3.org/2000/svg';

function icon(name) {
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(space, 'path');
  path.setAttribute('d', ICONS[name]);
  path.setAttribute('fill-rule', 'evenodd');
  svg.append(path);
  return svg;
}

/** What a person calls the codec of an RFC 6381 name. */
function codecWords(mime) {
  const code = /codecs="?([^",.]+)/.exec(mime)?.[1] ?? mime;
  return { avc1: 'H.264', avc3: 'H.264', hvc1: 'H.265 (HEVC)', hev1: 'H.265 (HEVC)', av01: 'AV1', vp09: 'VP9' }[code] ?? code;
}

/**
 * The presentation time of a fragment with one frame, in seconds; states that the frame lasts FRAME_LASTS_S.
 * ISO/IEC 14496-12: moof / traf / (tfhd, tfdt, trun). NaN for anything else, which then plays as it is.
 */
function timing(bytes, timescale) {
  const view = new DataView(bytes);
  let decode = NaN, composition = 0;
  const boxes = (from, to, visit) => {
    for (let at = from; at + 8 <= to;) {
      const size = view.getUint32(at);
      if (size < 8 || at + size > to) return;
      visit(view.getUint32(at + 4), at + 8, at + size);
      at += size;
    }
  };
  const lasts = Math.round(FRAME_LASTS_S * timescale);
  boxes(0, view.byteLength, (kind, from, to) => kind === 0x6d6f6f66 && boxes(from, to, (kind, from, to) => kind === 0x74726166 && boxes(from, to, (kind, at, to) => {
    const version = view.getUint8(at), flags = view.getUint32(at) & 0xffffff;
    if (kind === 0x74666474) {
      decode = version === 1 ? Number(view.getBigUint64(at + 4)) : view.getUint32(at + 4);
    } else if (kind === 0x74666864 && flags & 0x8) {
      const place = at + 8 + (flags & 0x1 ? 8 : 0) + (flags & 0x2 ? 4 : 0);
      if (place + 4 <= to) view.setUint32(place, lasts);
    } else if (kind === 0x7472756e) {
      let place = at + 8 + (flags & 0x1 ? 4 : 0) + (flags & 0x4 ? 4 : 0);
      if (flags & 0x100 && place + 4 <= to) view.setUint32(place, lasts);
      place += (flags & 0x100 ? 4 : 0) + (flags & 0x200 ? 4 : 0) + (flags & 0x400 ? 4 : 0);
      if (flags & 0x800 && place + 4 <= to) composition = view.getInt32(place);
    }
  })));
  return (decode + composition) / timescale;
}

/** fMP4 into a <video> by Media Source Extensions. `on`: picture(element), failed(reason), blocked(). */
class MseSink {
  constructor({ mime, timescale }, muted, stats, on) {
    this.stats = stats;
    this.on = on;
    this.mime = mime;
    this.timescale = timescale ?? 90_000;
    this.queue = [];
    this.queuedBytes = 0;
    this.target = SLACK_S;
    this.slacks = [];
    this.newest = NaN;
    this.keys = [];
    this.started = false;
    this.steeredAt = performance.now();
    const video = this.element = document.createElement('video');
    video.muted = muted;
    video.playsInline = true;
    video.disableRemotePlayback = true;
    video.tabIndex = -1;
    video.addEventListener('loadeddata', () => this.gone || on.picture(video), { once: true });
    video.addEventListener('waiting', () => this.waiting());
    video.addEventListener('error', () => this.fail(video.error?.message || 'media error'));
    video.addEventListener('timeupdate', () => this.cross());
    const Source = window.ManagedMediaSource ?? window.MediaSource;
    const source = this.source = new Source();
    source.addEventListener('sourceopen', () => this.open(), { once: true });
    this.url = URL.createObjectURL(source);
    video.src = this.url;
  }

  static supports(mime) {
    return (window.ManagedMediaSource ?? window.MediaSource).isTypeSupported(mime);
  }

  open() {
    URL.revokeObjectURL(this.url);
    if (this.gone) return;
    try {
      this.source.duration = Infinity;
      this.buffer = this.source.addSourceBuffer(this.mime);
    } catch (error) {
      return this.fail(String(error));
    }
    this.buffer.addEventListener('updateend', () => this.updated());
    this.buffer.addEventListener('error', () => this.fail('the browser refuses the stream'));
    this.pump();
  }

  /** A new format in the middle of the stream. */
  change(mime) {
    this.queue.push({ mime });
    this.pump();
  }

  /** `media`: whether it is a fragment, not an init segment. */
  push(bytes, media) {
    const time = media ? timing(bytes, this.timescale) : NaN;
    this.queue.push({ bytes });
    this.queuedBytes += bytes.byteLength;
    if (media) {
      // Time that runs backwards is a new beginning.
      this.newest = time < this.newest - 1 ? time : Math.max(time, this.newest || 0);
      if (this.started) this.arrived(time);
      else this.burst();
    }
    if (this.queuedBytes > QUEUE_BYTES_MAX) return this.fail('the browser takes no more data');
    this.pump();
  }

  /** A key frame begins at `seconds` of the media: what is before it may be removed. */
  key(seconds) {
    this.keys.push(seconds);
  }

  pump() {
    const buffer = this.buffer;
    if (this.gone || !buffer || buffer.updating || this.source.readyState !== 'open' || this.element.error) return;
    try {
      if (this.queue.length === 0) return this.trim();
      if (this.queue[0].mime) {
        const { mime } = this.queue.shift();
        if (mime !== this.mime) buffer.changeType(mime);
        this.mime = mime;
        return this.pump();
      }
      let count = 0, bytes = 0;
      while (count < this.queue.length && !this.queue[count].mime) bytes += this.queue[count++].bytes.byteLength;
      const parts = this.queue.splice(0, count);
      this.queuedBytes -= bytes;
      if (count === 1) return buffer.appendBuffer(parts[0].bytes);
      const whole = new Uint8Array(bytes);
      let at = 0;
      for (const part of parts) {
        whole.set(new Uint8Array(part.bytes), at);
        at += part.bytes.byteLength;
      }
      buffer.appendBuffer(whole);
    } catch (error) {
      this.fail(String(error));
    }
  }

  updated() {
    if (this.gone) return;
    if (this.started) this.cross();
    this.pump();
  }

  /** Waits until the burst of joining is in, so that playback starts at its end and not at its beginning. */
  burst() {
    const now = performance.now();
    this.burstAt ??= now;
    clearTimeout(this.burstTimer);
    this.burstTimer = setTimeout(() => this.start(), Math.max(0, Math.min(BURST_GAP_MS, this.burstAt + BURST_MAX_MS - now)));
  }

  start() {
    if (this.gone || this.started) return;
    if (!this.buffer?.buffered.length || this.buffer.updating || this.queue.length) {
      this.burstTimer = setTimeout(() => this.start(), 5);
      return;
    }
    this.started = true;
    this.seekToEdge();
    this.play();
  }

  play() {
    this.element.play().catch((error) => {
      if (!this.gone && error.name === 'NotAllowedError') this.on.blocked();
    });
  }

  /** To the newest frame (by the time it is decoded, the slack is there), if the browser has taken it. */
  seekToEdge() {
    const { buffered } = this.element, last = buffered.length - 1;
    if (this.newest > buffered.end(last)) return;
    this.element.currentTime = Math.max(buffered.start(last), this.newest || 0);
    this.slacks.length = 0;
  }

  /** A frame for `time` came: notes its slack, and steers by the least of the last moments. */
  arrived(time) {
    const now = performance.now(), video = this.element, { stats } = this;
    if (video.seeking || video.readyState < 2 || Number.isNaN(time) || !video.buffered.length) return;
    const slack = time - video.currentTime;
    this.slacks.push({ at: now, slack });
    while (this.slacks[0].at < now - SLACK_WINDOW_MS) this.slacks.shift();
    this.target = Math.max(SLACK_S, this.target - (now - this.steeredAt) / 1000 * CALM_TAKES_S);
    this.steeredAt = now;
    if (slack < 0) {
      stats.late++;
      this.target = Math.min(SLACK_MAX_S, this.target + LATE_ADDS_S);
    }
    const all = this.slacks.map((one) => one.slack), least = Math.min(...all), most = Math.max(...all);
    if (all.length >= 3 && (least > this.target + JUMP_OVER_S || most < -JUMP_BACK_S)) {
      stats.jumps++;
      return this.seekToEdge();
    }
    const error = least - this.target;
    const lately = all.slice(-LATELY).sort((a, b) => a - b);
    const isLate = lately.length === LATELY && lately[LATELY >> 1] < 0;
    const steer = isLate ? -BRAKE : Math.abs(error) < 0.008 ? 0 : Math.max(-STEER_MAX, Math.min(STEER_MAX, error));
    const rate = Math.round((1 + steer) * 100) / 100;
    if (video.playbackRate !== rate) video.playbackRate = rate;
    stats.rate = rate;
    if (video.paused) this.play();
  }

  waiting() {
    if (!this.started || this.gone || this.element.seeking) return;
    this.stats.waits++;
    this.cross();
  }

  /** After a gap (frames left out, the camera away) playback goes on in the newest part. */
  cross() {
    const { buffered, currentTime } = this.element;
    if (!this.started || !buffered.length) return;
    // A seek to where nothing will ever be does not end by itself.
    if (currentTime < buffered.start(buffered.length - 1) - 0.001) {
      this.stats.jumps++;
      this.seekToEdge();
    }
  }

  trim() {
    const { buffered, currentTime } = this.element;
    if (!this.started || !buffered.length || currentTime - buffered.start(0) < KEEP_MAX_S) return;
    const until = this.keys.findLast((key) => key <= currentTime - KEEP_S);
    if (until === undefined || until <= buffered.start(0)) return;
    this.keys = this.keys.filter((key) => key >= until);
    this.buffer.remove(0, until);
  }

  bufferedAhead() {
    return this.newest - this.element.currentTime;
  }

  fail(reason) {
    if (this.gone) return;
    this.on.failed(reason);
  }

  destroy() {
    this.gone = true;
    clearTimeout(this.burstTimer);
    this.queue.length = 0;
    this.element.pause();
    this.element.removeAttribute('src');
    this.element.load();
  }
}

/** JPEG images onto a <canvas>; while one is decoded only the newest waits. */
class JpegSink {
  constructor(stats, on) {
    this.stats = stats;
    this.on = on;
    this.element = document.createElement('canvas');
    this.pen = this.element.getContext('2d', { alpha: false });
  }

  push(bytes) {
    if (this.busy) {
      if (this.pending) this.stats.skipped++;
      this.pending = bytes;
      return;
    }
    this.busy = true;
    createImageBitmap(new Blob([bytes], { type: 'image/jpeg' })).then((image) => {
      if (this.gone) return image.close();
      const { element } = this;
      if (element.width !== image.width || element.height !== image.height) {
        element.width = image.width;
        element.height = image.height;
      }
      this.pen.drawImage(image, 0, 0);
      image.close();
      this.bad = 0;
      this.stats.pictures++;
      if (!this.shown) this.on.picture(element);
      this.shown = true;
    }, () => {
      this.bad = (this.bad ?? 0) + 1;
      if (this.bad === 10) this.on.failed('10 images in a row cannot be decoded');
    }).finally(() => {
      this.busy = false;
      const next = this.pending;
      this.pending = undefined;
      if (next && !this.gone) this.push(next);
    });
  }

  bufferedAhead() {
    return 0;
  }

  destroy() {
    this.gone = true;
    this.pending = undefined;
  }
}

class GvPlayer extends HTMLElement {
  static observedAttributes = ['src', 'name'];

  #built = false;
  #socket;
  #sink;
  #old;
  #retries = 0;
  #timers = {};
  #muted = true;
  #wanted = true;
  #onScreen = true;
  #clock;
  #motion;
  #rests;
  #offsetMs = Infinity;
  #stats = { fragments: 0, bytes: 0, dropped: 0, skipped: 0, pictures: 0, late: 0, motions: 0, waits: 0, jumps: 0, connects: 0, rate: 1,
    firstPictureMs: undefined };

  /** Counters since the element was made, and the present. `latencyMs`: capture to screen by the server's clock. */
  get stats() {
    const video = this.#sink?.element;
    const shownMs = this.#shownMs();
    const latencyMs = shownMs === undefined ? undefined : unixMs() - this.#offsetMs - shownMs;
    return { ...this.#stats, state: this.state, bufferedAhead: this.#sink?.bufferedAhead(), latencyMs, mime: this.mime,
      width: video?.videoWidth ?? video?.width, height: video?.videoHeight ?? video?.height };
  }

  get state() {
    return this.getAttribute('state');
  }

  /** The element that shows the picture now: a <video>, a <canvas>, or null. */
  get picture() {
    return this.querySelector('video, canvas');
  }

  connectedCallback() {
    this.#build();
    this.#screen ??= new IntersectionObserver((entries) => {
      this.#onScreen = entries.at(-1).isIntersecting;
      this.#presence();
    });
    this.#screen.observe(this);
    document.addEventListener('visibilitychange', this.#presence);
    window.addEventListener('online', this.#hurry);
    this.#timers.watch = setInterval(() => this.#watch(), 500);
    this.#connect();
  }

  disconnectedCallback() {
    this.#screen.disconnect();
    document.removeEventListener('visibilitychange', this.#presence);
    window.removeEventListener('online', this.#hurry);
    this.#disconnect();
    Object.values(this.#timers).forEach((timer) => clearTimeout(timer));
    this.#timers = {};
  }

  attributeChangedCallback(attribute, before, after) {
    if (!this.#built || before === after) return;
    if (attribute === 'name') return this.#label();
    if (!this.isConnected) return;
    // The picture there is another camera's.
    this.#disconnect();
    this.#old?.destroy();
    this.#old = undefined;
    this.stage.replaceChildren();
    this.#retries = 0;
    if (this.#wanted) this.#connect();
  }

  /** Watches (again). */
  play() {
    this.#wanted = true;
    this.#retries = 0;
    if (this.#sink?.element.paused && this.#socket) this.#sink.play();
    else this.#connect();
  }

  /** Ends the view and keeps the last picture, named as paused. */
  pause() {
    this.#wanted = false;
    this.#disconnect();
    this.#say('paused', this.#words.paused);
  }

  #screen;

  get #words() {
    const lang = (this.closest('[lang]')?.lang || 'en').slice(0, 2);
    return WORDS[lang] ?? WORDS.en;
  }

  #build() {
    if (this.#built) return;
    this.#built = true;
    this.setAttribute('role', 'group');
    if (!this.hasAttribute('tabindex')) this.tabIndex = 0;
    const make = (tag, part, parent) => {
      const element = document.createElement(tag);
      element.className = `gv-player-${part}`;
      element.dataset.testid = `player-${part}`;
      return parent.appendChild(element);
    };
    this.stage = make('div', 'stage', this);
    this.marks = document.createElementNS(space, 'svg');
    this.marks.setAttribute('class', 'gv-player-boxes');
    this.marks.setAttribute('aria-hidden', 'true');
    this.marks.dataset.testid = 'player-boxes';
    this.note = make('p', 'note', this);
    this.note.setAttribute('role', 'status');
    const bar = make('div', 'bar', this);
    this.nameLine = make('span', 'name', bar);
    this.badge = make('span', 'badge', bar);
    const button = (part, act) => {
      const element = make('button', part, bar);
      element.type = 'button';
      element.addEventListener('click', act);
      return element;
    };
    this.buttons = {
      play: button('play', () => (this.#isRunning ? this.pause() : this.play())),
      mute: button('mute', () => this.#mute()),
      marks: button('marks', () => this.#mark(!this.hasAttribute('marks'))),
      snapshot: button('snapshot', () => this.snapshot()),
      fullscreen: button('fullscreen', () => this.#fullscreen()),
    };
    this.buttons.mute.hidden = true;
    this.addEventListener('keydown', (event) => {
      if (event.target !== this || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = { ' ': 'play', k: 'play', m: 'mute', b: 'marks', s: 'snapshot', f: 'fullscreen' }[event.key];
      if (!act || this.buttons[act].hidden) return;
      event.preventDefault();
      this.buttons[act].click();
    });
    this.#label();
    this.#say('connecting', this.#words.connecting);
  }

  #label() {
    const name = this.getAttribute('name') ?? '', words = this.#words;
    this.nameLine.textContent = name;
    this.setAttribute('aria-label', fill(words.label, name));
    const labels = { play: this.#isRunning ? words.pause : words.play, mute: this.#muted ? words.unmute : words.mute,
      marks: this.hasAttribute('marks') ? words.unmarks : words.marks, snapshot: words.snapshot, fullscreen: words.fullscreen };
    for (const [part, label] of Object.entries(labels)) {
      this.buttons[part].setAttribute('aria-label', name ? `${label}: ${name}` : label);
      this.buttons[part].title = label;
    }
    const icons = { play: this.#isRunning ? 'pause' : 'play', mute: this.#muted ? 'muted' : 'loud', marks: 'marks', snapshot: 'snapshot',
      fullscreen: 'fullscreen' };
    for (const [part, name] of Object.entries(icons)) {
      const button = this.buttons[part];
      if (button.dataset.icon === name) continue;
      button.dataset.icon = name;
      button.replaceChildren(icon(name));
    }
  }

  /** Whether the first button ends the view, not begins it. */
  get #isRunning() {
    return this.#wanted && !['paused', 'unsupported', 'refused'].includes(this.state);
  }

  #say(state, note = '') {
    this.badge.textContent = state === 'live' ? this.#words.live : '';
    if (this.note.textContent !== note) this.note.textContent = note;
    this.note.hidden = note === '';
    if (this.state !== state) {
      this.setAttribute('state', state);
      this.dispatchEvent(new CustomEvent('gv-state', { bubbles: true, detail: { state, note } }));
    }
    if (this.#built) this.#label();
  }

  // --- the connection

  #connect() {
    this.#disconnect();
    const src = this.getAttribute('src');
    if (!src || !this.#wanted) return;
    const url = new URL(src, document.baseURI);
    url.protocol = url.protocol.replace('http', 'ws');
    if (this.state !== 'offline') this.#say('connecting', this.#words.connecting);
    const socket = this.#socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    this.#stats.connects++;
    this.connectAt = this.heardAt = performance.now();
    this.pictureAt = undefined;
    this.mediaAt = undefined;
    this.format = undefined;
    this.taken = this.acked = 0;
    this.ackedAt = 0;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      if (this.state === 'connecting') this.#say('connecting', this.#words.waiting);
    };
    socket.onmessage = ({ data }) => {
      this.heardAt = performance.now();
      if (typeof data === 'string') this.#text(JSON.parse(data));
      else this.#binary(data);
    };
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      if (opened) this.#retry();
      else this.#askWhy(url).then((why) => (why ? this.#say('refused', why) : this.#retry()));
    };
  }

  #disconnect() {
    clearTimeout(this.#timers.retry);
    clearTimeout(this.#timers.ack);
    this.#timers.ack = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#motion = undefined;
    this.#rests = undefined;
    if (this.#built) this.#boxes();
    this.#retire();
  }

  /** The last picture stays until the next one is there; it is no longer fed. */
  #retire() {
    if (!this.#sink) return;
    const sink = this.#sink;
    this.#sink = undefined;
    sink.gone = true;
    if (sink.element.isConnected) {
      this.#old?.destroy();
      this.#old = sink;
      sink.element.pause?.();
    } else {
      sink.destroy();
    }
  }

  #retry(note) {
    this.#retire();
    if (!this.#wanted || !this.isConnected || document.hidden) return;
    const wait = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.#retries++) * (0.7 + 0.6 * Math.random());
    this.#say(note ? 'failed' : 'connecting', note ?? fill(this.#words.lost, Math.max(1, Math.round(wait / 1000))));
    clearTimeout(this.#timers.retry);
    this.#timers.retry = setTimeout(() => this.#connect(), wait);
  }

  /** A browser does not tell why it got no WebSocket; the same address does. Resolves to a reason that retrying cannot mend. */
  async #askWhy(url) {
    try {
      const at = new URL(url);
      at.protocol = at.protocol.replace('ws', 'http');
      const { status } = await fetch(at, { credentials: 'same-origin', cache: 'no-store', redirect: 'manual' });
      return { 401: this.#words.signedOut, 403: this.#words.forbidden, 404: this.#words.unknown }[status];
    } catch {
      return undefined;
    }
  }

  #hurry = () => {
    if (!this.#socket && this.#wanted && this.state !== 'unsupported') {
      this.#retries = 0;
      this.#connect();
    }
  };

  /** Watches only while it can be seen. */
  #presence = () => {
    const visible = !document.hidden && this.#onScreen;
    clearTimeout(this.#timers.hidden);
    if (!visible) {
      this.#timers.hidden = setTimeout(() => {
        this.#disconnect();
        if (this.#wanted && this.state !== 'unsupported') this.#say('paused', this.#words.paused);
      }, HIDDEN_GRACE_MS);
    } else if (this.#wanted && !this.#socket && this.state === 'paused') {
      this.#retries = 0;
      this.#connect();
    }
  };

  #watch() {
    const now = performance.now();
    if (!this.#socket) return;
    if (now - this.heardAt > SILENCE_MAX_MS) {
      this.#disconnect();
      return this.#retry();
    }
    if (this.mediaAt && (this.state === 'live' || this.state === 'stalled') && now - this.mediaAt > STALLED_MS) {
      this.#say('stalled', fill(this.#words.stalled, Math.floor((now - this.mediaAt) / 1000)));
    }
  }

  // --- what comes over it

  #text(message) {
    switch (message.type) {
      case 'init': return this.#init(message);
      case 'clock':
        this.#clock = message;
        this.#offsetMs = Math.min(this.#offsetMs, unixMs() - message.sent_ms);
        if (message.key) this.#sink?.key?.(message.media_s);
        return undefined;
      case 'dropped':
        this.#stats.dropped += message.fragments;
        return undefined;
      case 'status': {
        if (message.online) return undefined;
        const words = this.#words.states[message.state] ?? message.state;
        return this.#say('offline', fill(this.#words.offline, message.detail ? `${words}: ${message.detail}` : words));
      }
      case 'motion': {
        this.#stats.motions++;
        this.#motion = { ...message, heardAt: performance.now() };
        // Over the frame it was seen in: what is shown lags behind what is reported.
        const early = message.captured_ms - (this.#shownMs() ?? message.captured_ms);
        clearTimeout(this.#timers.boxes);
        this.#timers.boxes = setTimeout(() => this.#boxes(), Math.max(0, Math.min(early, BOX_LASTS_MS)));
        return undefined;
      }
      case 'rests':
        this.#rests = { things: message.things, heardAt: performance.now() };
        this.#boxes();
        return undefined;
      case 'refused':
        this.#retries = Math.max(this.#retries, 4);
        return this.#say('refused', message.detail);
      default: return undefined;
    }
  }

  #init(message) {
    this.format = message;
    this.mime = message.mime;
    if (message.width) this.stage.dataset.aspect = `${message.width}x${message.height}`;
    const on = {
      picture: (element) => this.#picture(element),
      failed: (reason) => this.#failed(reason),
      blocked: () => this.#say('paused', this.#words.click),
    };
    if (message.mime === 'image/jpeg') {
      if (!(this.#sink instanceof JpegSink)) {
        this.#retire();
        this.#sink = new JpegSink(this.#stats, on);
      }
      return;
    }
    if (!window.MediaSource && !window.ManagedMediaSource) return this.#cannot(this.#words.noMse);
    if (!MseSink.supports(message.mime)) return this.#cannot(fill(this.#words.unsupported, codecWords(message.mime)));
    this.buttons.mute.hidden = !/mp4a|opus|flac/i.test(message.mime);
    this.awaitsInit = true;
    if (this.#sink instanceof MseSink && this.#sink.buffer?.changeType) return this.#sink.change(message.mime);
    this.#retire();
    this.#sink = new MseSink(message, this.#muted, this.#stats, on);
  }

  #cannot(note) {
    this.#disconnect();
    this.#say('unsupported', note);
  }

  #binary(data) {
    if (!this.#sink) return;
    if (this.awaitsInit) {
      this.awaitsInit = false;
      return this.#sink.push(data, false);
    }
    this.#stats.fragments++;
    this.#stats.bytes += data.byteLength;
    this.mediaAt = performance.now();
    if (this.pictureAt && (this.state === 'stalled' || this.state === 'offline')) this.#say('live');
    this.#sink.push(data, true);
    this.taken++;
    this.#acknowledge();
  }

  #acknowledge() {
    const now = performance.now();
    if (this.taken - this.acked >= ACK_EVERY || now - this.ackedAt >= ACK_LATEST_MS) return this.#sendAck(now);
    this.#timers.ack ??= setTimeout(() => this.#sendAck(performance.now()), ACK_LATEST_MS);
    return undefined;
  }

  #sendAck(now) {
    clearTimeout(this.#timers.ack);
    this.#timers.ack = undefined;
    this.acked = this.taken;
    this.ackedAt = now;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: 'ack', fragments: this.taken }));
  }

  // --- what moves

  /** When the frame on the screen was captured, by the server's clock; undefined if it cannot be told. */
  #shownMs() {
    const video = this.#sink?.element;
    if (!this.#clock || !(video instanceof HTMLVideoElement) || video.readyState < 2) return undefined;
    return this.#clock.captured_ms + (video.currentTime - this.#clock.media_s) * 1000;
  }

  /** Draws boxes around what moves, or no longer. */
  showMarks(on) {
    this.#mark(on);
  }

  #mark(on) {
    this.toggleAttribute('marks', on);
    this.buttons.marks.setAttribute('aria-pressed', String(on));
    this.#label();
    this.#boxes();
  }

  /** Draws the boxes of the newest report. The drawing is scaled like the picture, bars at its sides included. */
  #boxes() {
    clearTimeout(this.#timers.stale);
    const { width = 16, height = 9 } = this.format ?? {};
    const age = performance.now() - (this.#motion?.heardAt ?? -Infinity);
    const regions = this.hasAttribute('marks') && this.#socket && age < BOX_LASTS_MS ? this.#motion.regions : [];
    this.marks.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const drawn = ([left, top, right, bottom]) => {
      const box = document.createElementNS(space, 'rect');
      const place = { x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height };
      for (const [name, value] of Object.entries(place)) box.setAttribute(name, value / 1000);
      return box;
    };
    // What was left or taken is drawn whether or not what moves is: it is an alarm.
    const isHeard = this.#socket && performance.now() - (this.#rests?.heardAt ?? -Infinity) < REST_LASTS_MS;
    const rests = isHeard ? this.#rests.things.map((thing) => this.#rest(thing, drawn(thing.region))) : [];
    const mask = regions.length && this.#motion.mask ? [this.#mask(this.#motion.mask)] : [];
    this.marks.replaceChildren(...mask, ...regions.map(drawn), ...rests);
    const next = regions.length ? BOX_LASTS_MS : REST_AGE_EVERY_MS;
    if (regions.length || rests.length) this.#timers.stale = setTimeout(() => this.#boxes(), next);
  }

  /** The pixels that differ from the background, as a stroke of one pixel a run and row. */
  #mask({ width, height, runs }) {
    const { width: across = 16, height: down = 9 } = this.format ?? {};
    const path = document.createElementNS(space, 'path');
    let d = '';
    let at = 0;
    for (const [turn, run] of runs.entries()) {
      // Runs go on over the ends of rows.
      for (let from = at, end = at + run; turn % 2 && from < end;) {
        const length = Math.min(end - from, width - from % width);
        d += `M${from % width} ${Math.floor(from / width) + 0.5}h${length}`;
        from += length;
      }
      at += run;
    }
    path.setAttribute('class', 'mask');
    path.setAttribute('d', d);
    path.setAttribute('transform', `scale(${across / width} ${down / height})`);
    return path;
  }

  /** A thing that rests, with its age written at its place. */
  #rest({ kind, since_ms: since, region: [left, top, right] }, box) {
    const { width = 16, height = 9 } = this.format ?? {};
    const seconds = Math.max(0, Math.round((unixMs() + (Number.isFinite(this.#offsetMs) ? -this.#offsetMs : 0) - since) / 1000));
    const age = seconds < 60 ? `${seconds} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
    const group = document.createElementNS(space, 'g');
    const text = document.createElementNS(space, 'text');
    const size = Math.max(height / 24, 1);
    group.setAttribute('class', 'rest');
    // At the right edge the words go to the left.
    const isRight = left > 700;
    text.setAttribute('x', (isRight ? right : left) * width / 1000);
    text.setAttribute('text-anchor', isRight ? 'end' : 'start');
    text.setAttribute('y', Math.max(top * height / 1000 - size * 0.3, size));
    text.setAttribute('font-size', size);
    text.textContent = fill(this.#words.rests[kind] ?? kind, age);
    group.append(box, text);
    return group;
  }

  #picture(element) {
    if (element !== this.#sink?.element) return;
    this.stage.replaceChildren(element, this.marks);
    this.#old?.destroy();
    this.#old = undefined;
    this.#retries = 0;
    this.pictureAt = performance.now();
    this.#stats.firstPictureMs ??= this.pictureAt - this.connectAt;
    this.#stats.lastJoinMs = this.pictureAt - this.connectAt;
    this.#say('live');
    this.dispatchEvent(new CustomEvent('gv-picture', { bubbles: true }));
  }

  #failed(reason) {
    this.#stats.failure = reason;
    this.#disconnect();
    this.#retry(this.#words.decode);
  }

  // --- buttons

  #mute() {
    this.#muted = !this.#muted;
    if (this.#sink instanceof MseSink) this.#sink.element.muted = this.#muted;
    this.#label();
  }

  /** Saves the present picture as a JPEG file; resolves to its blob (null if there is no picture). */
  async snapshot() {
    const { picture } = this;
    const width = picture?.videoWidth ?? picture?.width, height = picture?.videoHeight ?? picture?.height;
    if (!width) return null;
    const canvas = document.createElement('canvas');
    canvas.width = width;
    canvas.height = height;
    canvas.getContext('2d').drawImage(picture, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.92));
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = `${this.getAttribute('name') || 'camera'} ${new Date().toISOString().replaceAll(':', '-').slice(0, 19)}.jpg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    return blob;
  }

  #fullscreen() {
    if (document.fullscreenElement === this) document.exitFullscreen();
    else if (this.requestFullscreen) this.requestFullscreen().catch(() => {});
    else this.picture?.webkitEnterFullscreen?.();
  }
}

customElements.define('gv-player', GvPlayer);
