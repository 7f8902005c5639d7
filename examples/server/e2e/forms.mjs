// The forms that are made of descriptions: a rule added by form and put in force, a relay chosen by its driver, a key of
// passes changed. Part of the walk; alone, against a running `godvision-server demo`:
//
//   node e2e/forms.mjs URL PASSWORD [FOLDER]
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { browser, check, until } from './browser.mjs';

/** Walks through the forms as an administrator who is signed in. */
export async function forms({ page, url, shot }) {
  const shown = (selector) => page.locator(selector).first().waitFor({ state: 'visible', timeout: 10_000 });
  const said = (selector) => page.locator(selector).innerText().catch(() => '');

  /** Saves what is compared, and waits for the page that has it. */
  async function saved(what) {
    const version = () => page.getAttribute('#rules', 'data-base', { timeout: 1000 }).catch(() => undefined);
    const old = await version();
    await page.click('#diff-dialog .primary');
    await until(async () => { const now = await version(); return now !== undefined && now !== old; }, what, 8000);
    await page.waitForLoadState();
    await shown('details[data-table=rule] .record');
  }

  console.log('rules as forms');
  await page.goto(`${url}/rules`);
  await page.click('#tab-forms');
  await shown('details[data-table=rule] .record');
  const before = await page.locator('details[data-table=rule] .record').count();

  // Hours that reach past midnight, drawn while they are written.
  await page.locator('details[data-table=schedules] summary').click();
  await page.click('[data-add-to=schedules]');
  await shown('#record-dialog[open]');
  await page.fill('#record-dialog [name=called]', 'night-shift');
  for (const [at, time] of ['22:00', '06:00'].entries()) await page.locator('#record-dialog input[type=time]').nth(at).fill(time);
  check(await page.locator('#record-dialog .week .open').count() === 10, 'five nights are drawn on both of their days');
  await page.locator('#record-dialog .days input').nth(0).focus();
  await page.keyboard.press('Space');
  check(await page.locator('#record-dialog .week .open').count() === 8, 'the keyboard takes a day away');
  await shot('form-schedule');
  await page.click('#record-dialog .primary');
  await page.locator('#record-dialog').waitFor({ state: 'hidden' });
  check((await page.inputValue('#rules textarea')).includes('night-shift = ["Tue-Fri 22:00-06:00"]'), 'the text says it in one line');

  await page.click('[data-add-to=rule]');
  await shown('#record-dialog[open]');
  await page.fill('#record-dialog [data-key=name]', 'ada-at-night');
  await page.click('#record-dialog .primary');
  await shown('#record-dialog .problem[data-for=permit]');
  check(true, 'what is missing is said at its field');
  for (const [key, text] of [['permit', 'ada'], ['doors', 'any'], ['by', 'face+pin']]) {
    await page.fill(`#record-dialog [data-key=${key}]`, text);
    await page.keyboard.press('Enter');
  }
  await page.selectOption('#record-dialog [data-key=during]', 'night-shift');
  await page.fill('#record-dialog [data-key=priority]', '70000');
  await shot('form-rule');
  await page.click('#record-dialog .primary');
  await shown('#record-dialog .problem[data-for=priority]');
  await page.fill('#record-dialog [data-key=priority]', '5');
  await page.click('#record-dialog .primary');
  await page.locator('#record-dialog').waitFor({ state: 'hidden' });
  await until(async () => await page.locator('details[data-table=rule] .record').count() === before + 1, 'the rule is listed');
  await shot('rules-forms');

  await until(async () => !await page.locator('#rules .primary').isDisabled(), 'the draft is right');
  await page.click('#rules .primary');
  await shown('#diff-dialog[open]');
  check((await said('.diff')).includes('name = "ada-at-night"') && await page.locator('.diff .removed').count() === 0, 'what changes is shown before it is put in force');
  await shot('form-diff');
  await saved('it is in force');
  const asks = { person: 'ada', door: 'front-door' };
  for (const [name, value] of Object.entries(asks)) await page.fill(`#ask input[name=${name}]`, value);
  const answer = await page.evaluate(() => fetch('/api/v1/rules/explain', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    // A Wednesday, an hour past midnight, in the middle of Tuesday's night.
    body: JSON.stringify({ person: 'ada', door: 'front-door', kind: 'face+pin', at: '2026-11-25T01:00:00Z' }),
  }).then((it) => it.json()));
  check(answer.verdict === 'admit' && answer.rule === 'ada-at-night', 'and it decides');
  await page.selectOption('#ask [name=kind]', 'face+pin');
  await page.locator('#ask button', { hasText: 'Ask' }).click();
  await until(async () => await page.locator('#answer .week .open').count() === 8, 'her week is drawn: four nights on both of their days');
  await shot('rules-week');
  await page.click('#ask [name=who]');
  await until(async () => /could enter/.test(await said('#answer')), 'who could enter is answered');
  await shot('rules-who');

  // And away again: the version before is what it was.
  await page.locator('details[data-table=rule] .record', { hasText: 'ada-at-night' }).click();
  await page.click('#record-dialog [name=remove]');
  await page.click('#record-dialog [name=remove]');
  await page.locator('#record-dialog').waitFor({ state: 'hidden' });
  await page.locator('details[data-table=schedules] .record', { hasText: 'night-shift' }).click();
  await page.click('#record-dialog [name=remove]');
  await page.click('#record-dialog [name=remove]');
  await page.locator('#record-dialog').waitFor({ state: 'hidden' });
  await until(async () => !await page.locator('#rules .primary').isDisabled(), 'the draft is right again');
  await page.click('#rules .primary');
  await shown('#diff-dialog[open]');
  await saved('it is in force without them');
  await until(async () => await page.locator('details[data-table=rule] .record').count() === before, 'the rule is gone');

  console.log('relays as forms');
  await page.goto(`${url}/doors`);
  await page.locator('[data-setup=""]').first().click();
  await shown('#setup-dialog[open] #relay-driver');
  await page.fill('#setup-dialog input[name=name]', 'shed');
  await page.selectOption('#relay-driver', 'shelly');
  await shown('#setup-dialog [data-key="relay.host"]');
  await page.fill('#setup-dialog [data-key="relay.password"]', 'canary-of-the-walk');
  await page.click('#setup-dialog .primary');
  await shown('#setup-dialog .problem[data-for="relay.host"]');
  check(true, 'a relay without a host is refused at its field');
  await page.fill('#setup-dialog [data-key="relay.host"]', '127.0.0.1');
  await shot('form-relay');
  await page.click('#setup-dialog .primary');
  await shown('[id="door:shed"]');
  await page.locator('[data-setup="shed"]').click();
  await shown('#setup-dialog[open] [data-key="relay.host"]');
  check(await page.inputValue('#relay-driver') === 'shelly' && await page.inputValue('#setup-dialog [data-key="relay.host"]') === '127.0.0.1', 'its driver and host come back');
  check(!(await page.content()).includes('canary-of-the-walk') && await page.locator('#setup-dialog [data-key="relay.password"]').isHidden(), 'its password does not');
  await page.fill('#setup-dialog [data-key="relay.host"]', '127.0.0.2');
  await page.click('#setup-dialog .primary');
  await shown('#setup-dialog .problem[data-for="relay.password"]');
  check(true, 'nor does it go to another device');
  await shot('form-relay-kept');
  await page.selectOption('#relay-driver', 'simulated');
  await page.click('#setup-dialog [name=read]');
  await until(async () => (await said('#setup-dialog .reading')).includes('contact is off'), 'another driver is asked before it is saved');
  await page.click('#setup-dialog [name=try]');
  await page.click('#setup-dialog [name=try]');
  await until(async () => (await said('#setup-dialog .reading')).includes('was on for 1 s'), 'and tried, once that is confirmed');
  await shot('form-relay-tried');
  await page.click('#setup-dialog [name=remove]');
  await page.click('#setup-dialog [name=remove]');
  await page.locator('[id="door:shed"]').waitFor({ state: 'detached' });

  console.log('keys of passes');
  await page.goto(`${url}/passes`);
  await page.click('a[href="/pass-keys"]');
  await shown('.key-list tr[data-state=signing]');
  const old = await page.getAttribute('.key-list tr[data-state=signing]', 'data-id');
  await page.click('#make');
  await shown('#make-dialog[open]');
  await page.click('#make-dialog .primary');
  await until(async () => await page.getAttribute('.key-list tr[data-state=signing]', 'data-id').catch(() => old) !== old, 'a new key signs', 8000);
  check(await page.locator(`.key-list tr[data-id="${old}"][data-state=verifying]`).count() === 1, 'the one before it is still believed');
  await page.evaluate(() => fetch('/api/v1/passes', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"doors": ["any"]}' }));
  await page.reload();
  await shot('pass-keys');
  await page.click(`.key-list tr[data-id="${Number(old) + 1}"] [name=withdraw]`);
  await shown('#withdraw-dialog[open]');
  check(/ends 1 live pass/.test(await said('#withdraw-dialog .ends')), `what it ends is said: ${await said('#withdraw-dialog .ends')}`);
  await page.fill('#withdraw-dialog [name=reason]', 'a laptop was stolen');
  await shot('pass-key-withdraw');
  await page.click('#withdraw-dialog .primary');
  await until(async () => await page.locator(`.key-list tr[data-id="${Number(old) + 1}"][data-state=withdrawn]`).count().catch(() => 0) === 1, 'it is withdrawn', 8000);
  check(await page.locator('.key-list tr[data-state=signing]').count() === 1, 'and another signs');
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [url, password, folder] = process.argv.slice(2);
  if (!url || !password) throw new Error('usage: node forms.mjs URL PASSWORD [FOLDER FOR SCREENSHOTS]');
  if (folder) mkdirSync(folder, { recursive: true });
  // Forms that are sent with a mistake in them are answered 400.
  const { page, problems, close } = await browser({ expected: [/status of 400 .*\/setup/] });
  let shots = 0;
  const shot = (name) => folder && page.screenshot({ path: join(folder, `${String(++shots).padStart(2, '0')}-${name}.png`) });
  try {
    await page.goto(`${url}/rules`);
    await page.fill('input[name=name]', process.env.GODVISION_USER ?? 'admin');
    await page.fill('input[name=password]', password);
    await page.click('form button.primary');
    await page.waitForURL('**/rules');
    await forms({ page, url, shot });
    check(problems.length === 0, `no errors in the console${problems.map((problem) => `\n      ${problem}`).join('')}`);
  } catch (error) {
    await shot('failed');
    problems.forEach((problem) => console.error(`in the console: ${problem}`));
    throw error;
  } finally {
    await close();
  }
}
