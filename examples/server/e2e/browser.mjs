// What both browser tests share: starting Debian's Chromium fresh, and failing on what its console says.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--autoplay-policy=no-user-gesture-required'];

/**
 * A browser with a profile of its own; `await close()` also removes the profile.
 * Errors of the console and of scripts are collected in `problems`; those that match one of `expected` are not.
 */
export async function browser({ expected = [], viewport = { width: 1280, height: 900 } } = {}) {
  const profile = mkdtempSync(join(tmpdir(), 'godvision-e2e-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS, viewport,
    ignoreHTTPSErrors: true, acceptDownloads: true,
  });
  const problems = [];
  const note = (text) => expected.some((pattern) => pattern.test(text)) || problems.push(text);
  const listen = (page) => {
    page.on('console', (message) => message.type() === 'error' && note(`console: ${message.text()} (${message.location().url})`));
    page.on('pageerror', (error) => note(`script: ${error.stack ?? error}`));
  };
  context.pages().forEach(listen);
  context.on('page', listen);
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { context, page: context.pages()[0] ?? await context.newPage(), problems, close };
}

export function check(fact, text) {
  if (!fact) throw new Error(`not so: ${text}`);
  console.log(`  ok  ${text}`);
}

/** Asks `question` until its answer is truthy, and returns the answer. */
export async function until(question, what, withinMs = 10_000) {
  const start = Date.now();
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() - start > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
