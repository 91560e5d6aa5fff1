// Opens the built site in headless Chromium: no console error, no page wider than its window at 400 and 1400 pixels, light
// and dark, every diagram drawn, every error code found by the search. `--shots <folder>` keeps pictures.
import { createReadStream, existsSync, mkdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { ERROR_CODES } from '../dist/errors.js';
import { pages } from './.vitepress/pages.mjs';

const root = fileURLToPath(new URL('.build/site', import.meta.url));
const shots = process.argv.includes('--shots') ? process.argv[process.argv.indexOf('--shots') + 1] : undefined;
if (shots !== undefined) mkdirSync(shots, { recursive: true });
const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
};
const faults = [];

const server = createServer(({ url }, response) => {
  const path = normalize(decodeURIComponent(new URL(url, 'http://site').pathname));
  const file = [join(root, path), join(root, `${path}.html`), join(root, path, 'index.html')].find(
    (each) => existsSync(each) && statSync(each).isFile(),
  );
  if (file === undefined || !file.startsWith(root)) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const origin = `http://127.0.0.1:${server.address().port}`;

const executablePath = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/google-chrome'].find(
  (each) => each && existsSync(each),
);
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
});
try {
  for (const [width, colorScheme] of [
    [400, 'light'],
    [1400, 'dark'],
    [400, 'dark'],
    [1400, 'light'],
  ]) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const page = await context.newPage();
    let at = '';
    page.on('console', (message) => message.type() === 'error' && faults.push(`${at}: console: ${message.text()}`));
    page.on('pageerror', (error) => faults.push(`${at}: ${error.message}`));
    page.on(
      'response',
      (response) => response.status() >= 400 && faults.push(`${at}: ${response.status()} ${response.url()}`),
    );
    const own = colorScheme === (width === 400 ? 'light' : 'dark') ? pages : pages.slice(0, 4);
    for (const name of own) {
      at = `/${name} at ${width}, ${colorScheme}`;
      await page.goto(`${origin}/${name}`, { waitUntil: 'networkidle', timeout: 120_000 });
      const wide = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      if (wide > 0) faults.push(`${at}: ${wide} pixels too wide`);
      if (name === 'concepts') {
        await page.waitForFunction(() => document.querySelectorAll('.diagram svg').length === 4, undefined, {
          timeout: 60_000,
        });
      }
      if (shots !== undefined)
        await page.screenshot({
          path: join(shots, `${(name || 'home').replaceAll('/', '-')}-${width}-${colorScheme}.png`),
          fullPage: name === 'concepts',
        });
    }
    await context.close();
  }
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  await page.goto(`${origin}/start`, { waitUntil: 'networkidle' });
  await page.keyboard.press('Control+k');
  const input = page.locator('#localsearch-input');
  await input.waitFor();
  for (const code of Object.keys(ERROR_CODES)) {
    await input.fill(code);
    const found = page.locator(
      `.results a[href*="errors"][href$="#${code.toLowerCase().replaceAll('_', '-')}"], .results a[href$="errors.html#${code.toLowerCase()}"], .results a[href$="errors#${code.toLowerCase()}"]`,
    );
    await found
      .first()
      .waitFor({ timeout: 20_000 })
      .catch(() => faults.push(`search: ${code} is not found`));
  }
  if (shots !== undefined) await page.screenshot({ path: join(shots, 'search.png') });
} finally {
  await browser.close();
  server.close();
}
for (const fault of faults) console.error(fault);
console.log(
  `docs: ${pages.length} pages, ${Object.keys(ERROR_CODES).length} error codes searched, ${faults.length} faults`,
);
process.exitCode = faults.length === 0 ? 0 : 1;
