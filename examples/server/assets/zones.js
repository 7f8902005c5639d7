/**
 * The zone editor of the cameras page: polygons drawn over the live picture, sensitivity chosen while the boxes show
 * what it does. Nothing is in force until it is saved; then it is at once.
 *
 * A zone is `name: x,y x,y x,y` in thousandths of the picture, with `!` before the name if it is ignored: as in the site
 * document. Click to set corners, click the first corner or press Enter to close, drag a corner to move it, Backspace
 * takes the last corner back, Ctrl+Z the last change, Escape the zone being drawn.
 */
import { call, failed, toast } from './app.js';

const space = 'http://www.w3.org/2000/svg';
const CORNERS_MIN = 3, CORNERS_MAX = 64, ZONES_MAX = 16;
/** How near, in pixels of the screen, counts as on a corner. */
const NEAR_PX = 14;

const parse = (text) => {
  const [, ignore, name, corners] = /^\s*(!?)\s*(.*?)\s*:\s*(.*)$/.exec(text) ?? [];
  return { name, ignore: ignore === '!', corners: (corners ?? '').split(/\s+/).filter(Boolean).map((it) => it.split(',').map(Number)) };
};
const write = ({ name, ignore, corners }) => `${ignore ? '!' : ''}${name}: ${corners.map((it) => it.join(',')).join(' ')}`;
const draw = (tag, attributes, parent) => {
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return parent.appendChild(element);
};

class Editor {
  constructor(card, url, words, { sensitivity, zones }) {
    Object.assign(this, { url, words, sensitivity });
    this.player = card.querySelector('gv-player');
    this.panel = card.querySelector('.zones');
    this.zones = zones.map(parse);
    this.past = [];
    this.drawn = null;
    this.layer = document.createElementNS(space, 'svg');
    this.layer.setAttribute('class', 'gv-player-zones');
    this.player.append(this.layer);
    this.hadMarks = this.player.hasAttribute('marks');
    this.player.showMarks(true);
    this.layer.addEventListener('pointerdown', (event) => this.down(event));
    this.layer.addEventListener('pointermove', (event) => this.move(event));
    this.layer.addEventListener('pointerup', () => this.up());
    this.keys = (event) => this.key(event);
    document.addEventListener('keydown', this.keys);
    this.panel.hidden = false;
    this.panel.querySelector('[name=sensitivity]').value = sensitivity;
    this.act = (event) => this.panelled(event);
    this.panel.addEventListener('click', this.act);
    this.panel.addEventListener('input', this.act);
    this.show();
  }

  end() {
    document.removeEventListener('keydown', this.keys);
    this.panel.removeEventListener('click', this.act);
    this.panel.removeEventListener('input', this.act);
    this.player.showMarks(this.hadMarks);
    this.layer.remove();
    this.panel.hidden = true;
  }

  remember() {
    this.past.push(JSON.stringify(this.zones));
  }

  undo() {
    if (this.drawn) this.drawn.corners.pop();
    else if (this.past.length) this.zones = JSON.parse(this.past.pop());
    if (this.drawn?.corners.length === 0) this.drawn = null;
    this.show();
  }

  /** The size of the picture, which the drawing shares with it. */
  get size() {
    return [this.player.format?.width || 1600, this.player.format?.height || 900];
  }

  /** Thousandths of the picture under the pointer. */
  at(event) {
    const [width, height] = this.size;
    const matrix = this.layer.getScreenCTM();
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const clamp = (part, whole) => Math.max(0, Math.min(1000, Math.round(part / whole * 1000)));
    return [clamp(x, width), clamp(y, height)];
  }

  isNear(event, [x, y]) {
    const [width, height] = this.size;
    const point = new DOMPoint(x * width / 1000, y * height / 1000).matrixTransform(this.layer.getScreenCTM());
    return Math.hypot(point.x - event.clientX, point.y - event.clientY) <= NEAR_PX;
  }

  down(event) {
    event.preventDefault();
    const corner = this.at(event);
    if (this.drawn) {
      if (this.isNear(event, this.drawn.corners[0])) return this.close();
      if (this.drawn.corners.length < CORNERS_MAX) this.drawn.corners.push(corner);
      return this.show();
    }
    for (const zone of this.zones) {
      const index = zone.corners.findIndex((it) => this.isNear(event, it));
      if (index < 0) continue;
      this.remember();
      this.held = { zone, index };
      this.layer.setPointerCapture(event.pointerId);
      return undefined;
    }
    if (this.zones.length >= ZONES_MAX) return toast(this.words.tooMany, true);
    this.drawn = { name: this.freeName(), ignore: false, corners: [corner] };
    return this.show();
  }

  move(event) {
    if (this.held) this.held.zone.corners[this.held.index] = this.at(event);
    else if (this.drawn) this.hover = this.at(event);
    else return;
    this.show(false);
  }

  up() {
    this.held = undefined;
  }

  close() {
    if (this.drawn.corners.length < CORNERS_MIN) return toast(this.words.tooFew, true);
    this.remember();
    this.zones.push(this.drawn);
    this.drawn = null;
    this.show();
    const name = this.panel.querySelector('li:last-child input[name=name]');
    name?.focus();
    return name?.select();
  }

  freeName() {
    const names = new Set(this.zones.map((it) => it.name));
    let number = 1;
    while (names.has(`${this.words.zone} ${number}`)) number++;
    return `${this.words.zone} ${number}`;
  }

  key(event) {
    const isTyping = event.target.closest?.('input, select, textarea');
    const act = event.key === 'z' && (event.ctrlKey || event.metaKey) ? () => this.undo()
      : isTyping ? undefined
        : { Enter: this.drawn && (() => this.close()), Backspace: this.drawn && (() => this.undo()),
          Escape: this.drawn && (() => { this.drawn = null; this.show(); }) }[event.key];
    if (!act || (isTyping && event.key === 'z')) return;
    event.preventDefault();
    act();
  }

  panelled(event) {
    const { target } = event;
    const item = target.closest('li');
    const zone = item && this.zones[Number(item.dataset.zone)];
    if (event.type === 'input') {
      if (target.name === 'sensitivity') this.sensitivity = target.value;
      else if (zone && target.name === 'name') zone.name = target.value;
      else if (zone && target.name === 'kind') zone.ignore = target.value === 'ignore';
      this.show(false);
      return;
    }
    const act = target.closest('button')?.name;
    if (act === 'remove') {
      this.remember();
      this.zones.splice(Number(item.dataset.zone), 1);
      this.show();
    } else if (act === 'undo') this.undo();
    else if (act === 'cancel') editors.close(this);
    else if (act === 'save') this.save(target.closest('button'));
  }

  async save(button) {
    if (this.drawn) return toast(this.words.open, true);
    const names = this.zones.map((it) => it.name.trim());
    if (names.some((it) => !it || /[:!]/.test(it))) return toast(this.words.badName, true);
    button.disabled = true;
    try {
      const zones = this.zones.map((it) => write({ ...it, name: it.name.trim() }));
      await call('PUT', this.url, { sensitivity: this.sensitivity, zones });
      toast(this.words.saved);
      editors.close(this);
    } catch (error) {
      failed(error);
    } finally {
      button.disabled = false;
    }
    return undefined;
  }

  /** `list`: whether the list beside the picture is drawn anew too. */
  show(list = true) {
    const [width, height] = this.size;
    const point = ([x, y]) => `${x * width / 1000},${y * height / 1000}`;
    this.layer.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.layer.replaceChildren();
    for (const zone of this.zones) {
      const kind = zone.ignore ? 'ignore' : 'watch';
      draw('polygon', { class: kind, points: zone.corners.map(point).join(' ') }, this.layer);
      const [x, y] = point(zone.corners[0]).split(',');
      draw('text', { class: kind, x, y, 'font-size': height / 30 }, this.layer).textContent = zone.name;
      for (const corner of zone.corners) this.corner(corner, kind);
    }
    if (this.drawn) {
      const corners = this.hover ? [...this.drawn.corners, this.hover] : this.drawn.corners;
      draw('polyline', { class: 'drawn', points: corners.map(point).join(' ') }, this.layer);
      for (const corner of this.drawn.corners) this.corner(corner, 'drawn');
    } else {
      this.hover = undefined;
    }
    this.panel.querySelector('[name=undo]').disabled = !this.drawn && !this.past.length;
    if (list) this.list();
  }

  corner([x, y], kind) {
    const [width, height] = this.size;
    draw('circle', { class: kind, cx: x * width / 1000, cy: y * height / 1000, r: width / 160 }, this.layer);
  }

  list() {
    const template = this.panel.querySelector('template');
    this.panel.querySelector('ul').replaceChildren(...this.zones.map((zone, index) => {
      const item = template.content.firstElementChild.cloneNode(true);
      item.dataset.zone = index;
      item.querySelector('[name=name]').value = zone.name;
      item.querySelector('[name=kind]').value = zone.ignore ? 'ignore' : 'watch';
      return item;
    }));
  }
}

const editors = {
  open: undefined,
  close(editor) {
    editor.end();
    if (this.open === editor) this.open = undefined;
  },
};

document.addEventListener('click', async (event) => {
  const button = event.target.closest('button[data-zones]');
  if (!button) return;
  if (editors.open) editors.close(editors.open);
  const card = button.closest('.camera');
  const url = button.dataset.zones;
  button.disabled = true;
  try {
    editors.open = new Editor(card, url, card.querySelector('.zones').dataset, await call('GET', url));
  } catch (error) {
    failed(error);
  } finally {
    button.disabled = false;
  }
});
