import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { htmlReport } from '../../src/bench/report/html.js';
import { runBench } from '../../src/bench/runBench.js';
import { parseTarget } from '../../src/bench/target/TargetSpec.js';
import { tempFolder } from '../support/tempFolder.js';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((file) =>
  existsSync(file),
);
const LOOK = readFileSync(join(import.meta.dirname, '../fixtures/look-at-report.js'), 'utf8');

/** What test/fixtures/look-at-report.js finds. Sizes in CSS pixels. */
interface Seen {
  readonly overflow: number;
  readonly outside: number;
  readonly charts: number;
  readonly smallest: number;
  readonly cut: number;
  readonly labels: readonly (string | null)[];
  readonly bold: number;
  readonly colours: readonly string[];
}

const SERVER = join(import.meta.dirname, '../fixtures/timed-server.mjs');

if (CHROMIUM === undefined) {
  if (process.env['CI'] === 'true') throw new Error('chromium is missing: apt-get install chromium');
  console.error(
    '\n*** chromium is missing: THE HTML REPORT IS NOT LOOKED AT. On Debian: apt-get install chromium ***\n',
  );
}

describe.skipIf(CHROMIUM === undefined)('the HTML report in a browser', () => {
  test('light and dark, 400 and 1400 pixels: no overflow, no error, axes with units, every number readable', async () => {
    const spec = await parseTarget(`"${process.execPath}" "${SERVER}" exponential:8`, {
      label: 'a <b>server</b> & "its" name',
    });
    const other = await parseTarget(`"${process.execPath}" "${SERVER}" fixed:5`, { label: 'the other' });
    const report = await runBench({
      targets: [spec, other],
      turns: 1,
      concurrency: [1, 4],
      durationMs: 1_200,
      warmupMs: 100,
      failIf: 'errors>0',
    });
    expect(report.steps.every(({ all }) => all.calls > 0 && all.errorRatio === 0)).toBe(true);
    const folder = tempFolder();
    const file = join(folder, 'report.html');
    await writeFile(file, htmlReport(report));
    const browser = await chromium.launch({
      executablePath: CHROMIUM as string,
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    });
    try {
      // One page, opened anew each time: each more would be a process.
      const page = await browser.newPage();
      const errors: string[] = [];
      const requests: string[] = [];
      page.on('console', (message) => {
        if (message.type() === 'error') errors.push(message.text());
      });
      page.on('pageerror', (error) => errors.push(String(error)));
      page.on('request', (request) => requests.push(request.url()));
      for (const colorScheme of ['light', 'dark'] as const) {
        for (const width of [400, 1_400]) {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize({ width, height: 900 });
          requests.length = 0;
          await page.goto(`file://${file}`);
          const seen = (await page.evaluate(LOOK)) as Seen;
          const where = `${colorScheme}, ${width}`;
          expect(errors, where).toEqual([]);
          expect(requests, where).toEqual([`file://${file}`]);
          expect(seen.overflow, where).toBeLessThanOrEqual(0);
          expect(seen.outside, where).toBe(0);
          expect(seen.charts, where).toBeGreaterThanOrEqual(3);
          expect(seen.smallest, where).toBeGreaterThan(9);
          expect(seen.cut, where).toBe(0);
          expect(
            seen.labels.filter((label) => !/\((%|ms, log|s|log)\)|a second/.test(label ?? '')),
            where,
          ).toEqual([]);
          // A name is text, never markup.
          expect(seen.bold, where).toBe(0);
          expect(seen.colours[0] !== seen.colours[1], where).toBe(true);
          if (process.env['POOLKIT_SHOTS'] !== undefined) {
            await page.screenshot({
              path: join(process.env['POOLKIT_SHOTS'], `report-${colorScheme}-${width}.png`),
              fullPage: true,
            });
          }
        }
      }
    } finally {
      await browser.close();
    }
  }, 60_000);
});
