import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { Gateway } from '../../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { RawClient } from '../../support/httpClient.js';

/** Debian's browser, or the one that is said. */
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const missing = [CHROMIUM, 'dist/gateway/status/page.html'].filter((file) => !existsSync(file));
if (missing.length > 0)
  process.stderr.write(`\nSKIPPED: the status page is not looked at: ${missing.join(', ')} missing\n`);

const EVIL = '<img src=x onerror="window.pwned=1">';

async function open(browser: Browser, url: string, options: Parameters<Browser['newPage']>[0] = {}): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(`${url}/status`);
  await page.waitForSelector('#live[data-live=live]');
  return page;
}
const errors: string[] = [];
const complaints: string[] = [];

test.skipIf(missing.length > 0)(
  'the page shows what happens, acts, takes nothing for markup, and comes back after a restart',
  { timeout: 60_000 },
  async () => {
    const { Gateway: Built } = (await import('mcp-poolkit/gateway')) as unknown as { Gateway: typeof Gateway };
    const pool = closeAfter(new UnifiedPool({ ledger: false, backoff: { initialMs: 1 }, stableAfterMs: 0 }));
    const server = {
      transport: 'stdio',
      command: process.execPath,
      args: [resolve('test/fixtures/status-server.mjs')],
    } as const;
    pool.addServer({ ...server, name: 'one' });
    pool.addServer({ ...server, name: EVIL });
    pool.addServer({ name: 'down', transport: 'stdio', command: `no-such-program ${EVIL}` });
    const first = new Built({ pool, port: 0 });
    closeAfter(first);
    const { url, port } = await first.listen();
    await Promise.allSettled(pool.servers().map((name) => pool.startServer(name)));
    await using browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] });
    const page = await open(browser, url);

    // Every server with its state; one that is down says why, as text.
    const row = (name: string) => page.locator('#servers tr[data-server]').filter({ hasText: name }).first();
    await expect
      .poll(() => row('down').innerText())
      .toMatch(/failed[\s\S]*no-such-program|no-such-program[\s\S]*failed/);
    expect(await row('one').innerText()).toMatch(/ready/);
    expect(await page.locator('#servers strong', { hasText: '<img src=x' }).count()).toBe(1);

    // A crash is there within the second that follows it.
    await pool.callTool('one', 'crash').catch(() => undefined);
    await page.waitForSelector('#events .crashed', { timeout: 1_000 });
    await pool.callTool('one', 'fail').catch(() => undefined);

    // A call in flight, cancelled from the keyboard.
    const client = new RawClient(`${url}/servers/one/mcp`);
    await client.initialize();
    const slow = client.call('tools/call', { name: 'slow', arguments: { ms: 60_000 } });
    const cancel = page.getByRole('button', { name: /^Cancel tools\/call slow/ });
    await cancel.waitFor();
    await cancel.focus();
    await page.keyboard.press('Enter');
    expect((await slow).error?.message).toMatch(/an operator cancelled it/);
    await page.waitForSelector('#open-empty:not([hidden])');

    // A tool whose name, description, parameters and answer try to be markup.
    await page.selectOption('#try-server', EVIL);
    await expect.poll(() => page.locator('#try-tool option').count()).toBe(5);
    await page.selectOption('#try-tool', { index: 4 });
    await page.click('#try-form button[type=submit]');
    await expect.poll(() => page.locator('#try-result').innerText()).toMatch(/<img src=x/);
    expect(await page.locator('main img, main script').count()).toBe(0);

    // Stop asks first; no is the answer of Escape.
    await page.getByRole('button', { name: 'Stop or start one' }).click();
    await page.keyboard.press('Escape');
    expect(pool.state('one')).toBe('ready');
    await page.getByRole('button', { name: 'Stop or start one' }).click();
    await page.getByRole('button', { name: 'Yes' }).click();
    await expect.poll(() => row('one').innerText()).toMatch(/stopped/);

    // Narrow, in the dark: nothing is wider than the screen.
    const narrow = await open(browser, url, { viewport: { width: 360, height: 800 }, colorScheme: 'dark' });
    const widths = await narrow.evaluate(
      '[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]',
    );
    expect(widths).toEqual([360, 'rgb(20, 23, 28)']);
    await narrow.close();

    // The gateway goes away and comes back on its port: so does the page.
    await first.close();
    await page.waitForSelector('#live[data-live=lost]');
    const second = closeAfter(new Built({ pool, port }));
    await second.listen();
    await page.waitForSelector('#live[data-live=live]');
    expect(await page.evaluate('window.pwned')).toBeUndefined();
    expect(errors).toEqual([]);
    // What was gone could not be fetched; the policy was never broken.
    expect(complaints.filter((text) => !/ERR_|Failed to load resource/.test(text))).toEqual([]);
  },
);
