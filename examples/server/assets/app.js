/**
 * What every page needs: times in the reader's zone, fresh content, short messages, calls to the API.
 *
 * A page keeps itself fresh by asking for itself again and taking over what changed: elements with `data-live` (by their
 * id), and the children of elements with `data-live="list"`. So every word stays in the server's templates.
 */

const body = document.body.dataset;

/** <gv-time datetime show>: shows the moment in the reader's zone; what the server wrote stays inside, in UTC. */
class Moment extends HTMLElement {
  static observedAttributes = ['datetime'];

  connectedCallback() {
    this.shadow ??= this.attachShadow({ mode: 'open' });
    this.attributeChangedCallback();
  }

  attributeChangedCallback() {
    const at = new Date(this.getAttribute('datetime') ?? '');
    if (!this.shadow || Number.isNaN(at.getTime())) return;
    const isToday = at.toDateString() === new Date().toDateString();
    const show = this.getAttribute('show');
    const clock = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
    const day = isToday && show !== 'exact' ? {} : { day: 'numeric', month: 'short' };
    const date = { day: 'numeric', month: 'short', year: 'numeric' };
    if (show === 'day') this.shadow.textContent = at.toLocaleDateString(undefined, date);
    else this.shadow.textContent = at.toLocaleString(undefined, show === 'time' && isToday ? clock : { ...day, ...clock });
  }
}
customElements.define('gv-time', Moment);

/** Shows a message for a moment, with a button that does `action.act` if there is one. */
export function toast(text, isBad = false, action = undefined) {
  const message = document.createElement('div');
  message.className = isBad ? 'toast bad' : 'toast';
  message.textContent = text;
  if (action) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = action.title;
    button.addEventListener('click', () => { message.remove(); action.act(); });
    message.append(' ', button);
  }
  document.getElementById('toasts')?.append(message);
  setTimeout(() => message.remove(), isBad || action ? 8000 : 4000);
}

/**
 * Calls the API. Returns its answer; throws an Error whose message can be shown and whose `code` is the API's. `content` is
 * sent as JSON, or as it is if `type` says what it is.
 */
export async function call(method, url, content, type = undefined) {
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: content === undefined ? {} : { 'content-type': type ?? 'application/json' },
      body: content === undefined || type ? content : JSON.stringify(content),
    });
  } catch {
    throw new Error(body.lost);
  }
  if (response.status === 401) location.reload();
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) {
    const error = new Error(answer?.error?.message ?? `${response.status} ${response.statusText}`);
    error.code = answer?.error?.code;
    throw error;
  }
  return answer;
}

/** Says that something did not work. */
export const failed = (error) => toast(body.failed + error.message, true);

// Fresh content -----------------------------------------------------------------------------------------------------

/** What the server last said of each live element: compared with what it says now, not with what scripts made of it. */
const said = new Map();
const seed = (root) => root.querySelectorAll('[data-live]').forEach((it) => it.id && said.set(it.id, it.outerHTML));

function takeOver(next) {
  for (const fresh of next.querySelectorAll('[data-live=list]')) {
    const shown = document.getElementById(fresh.id);
    if (shown) takeOverList(shown, fresh);
  }
  for (const fresh of next.querySelectorAll('[data-live]:not([data-live=list])')) {
    const shown = document.getElementById(fresh.id);
    if (!shown || said.get(fresh.id) === fresh.outerHTML || shown.querySelector('[data-busy]')) continue;
    said.set(fresh.id, fresh.outerHTML);
    const focus = shown.contains(document.activeElement) ? [...shown.querySelectorAll('button')].indexOf(document.activeElement) : -1;
    shown.className = fresh.className;
    shown.replaceChildren(...[...fresh.childNodes].map((it) => document.importNode(it, true)));
    if (focus >= 0) shown.querySelectorAll('button')[focus]?.focus();
  }
}

function takeOverList(shown, fresh) {
  const wanted = new Set([...fresh.children].map((it) => it.id));
  for (const child of [...shown.children]) {
    // A clip that somebody watches stays until they leave the page.
    if (!wanted.has(child.id) && !child.querySelector('.playing')) child.remove();
  }
  let place = shown.firstElementChild;
  for (const child of fresh.children) {
    const kept = document.getElementById(child.id);
    if (kept) {
      place = kept.nextElementSibling;
    } else {
      const added = document.importNode(child, true);
      added.classList.add('fresh');
      shown.insertBefore(added, place);
      seed(added);
    }
  }
  document.dispatchEvent(new Event('gv-list'));
}

/** Asks for the page anew and takes over what changed. */
export async function refresh() {
  const lost = document.getElementById('lost');
  try {
    const response = await fetch(location.href, { cache: 'no-store', signal: AbortSignal.timeout(10_000) });
    // Signed out: the answer is the login page.
    if (response.redirected) return location.reload();
    if (!response.ok) throw new Error(response.statusText);
    takeOver(new DOMParser().parseFromString(await response.text(), 'text/html'));
    lost.hidden = true;
  } catch {
    lost.textContent = body.lost;
    lost.hidden = false;
  }
}

seed(document);
const every = Number(document.getElementById('main')?.dataset.refresh);
if (every) {
  const turn = async () => {
    if (!document.hidden) await refresh();
    setTimeout(turn, every);
  };
  setTimeout(turn, every);
  document.addEventListener('visibilitychange', () => document.hidden || refresh());
}

// Filters -----------------------------------------------------------------------------------------------------------

const two = (number) => String(number).padStart(2, '0');
const localDay = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const localMoment = (at) => `${localDay(at)}T${two(at.getHours())}:${two(at.getMinutes())}`;

for (const form of document.querySelectorAll('form.filters')) {
  const day = form.querySelector('[data-day]');
  const moments = form.querySelectorAll('[data-moment]');
  const { from, to } = form.elements;
  if (day && from.value) day.value = localDay(new Date(from.value));
  for (const input of moments) {
    const value = form.elements[input.dataset.moment].value;
    if (value) input.value = localMoment(new Date(value));
  }
  const send = () => {
    if (day) {
      const start = day.value ? new Date(`${day.value}T00:00`) : null;
      const end = start && new Date(start.getFullYear(), start.getMonth(), start.getDate() + 1);
      from.value = start?.toISOString() ?? '';
      to.value = end?.toISOString() ?? '';
    }
    for (const input of moments) {
      form.elements[input.dataset.moment].value = input.value ? new Date(input.value).toISOString() : '';
    }
    // Empty fields would only make the address long.
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ''));
    location.assign(query.size ? `${form.action}?${query}` : form.action);
  };
  form.addEventListener('submit', (event) => { event.preventDefault(); send(); });
  form.addEventListener('change', (event) => event.target.matches('[data-submit]') && send());
}

// The account -------------------------------------------------------------------------------------------------------

const dialog = document.getElementById('password-dialog');
document.getElementById('change-password')?.addEventListener('click', () => dialog.showModal());
dialog?.querySelector('[value=cancel]').addEventListener('click', () => dialog.close());
dialog?.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const { current, new: next } = event.target.elements;
  const problem = dialog.querySelector('.problem');
  try {
    await call('POST', '/api/v1/password', { current: current.value, new: next.value });
    location.assign('/login');
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
});
document.addEventListener('click', (event) => {
  for (const menu of document.querySelectorAll('details.me[open]')) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
