import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, test, vi } from 'vitest';

import { systemClock } from '../../src/core/clock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../support/runs.js';
import { fixture } from '../support/servers.js';
import { CacheHouse } from './fixtureCache.js';

// Three fixtures at once on a busy machine take their time.
vi.setConfig({ testTimeout: 40_000 + RUNS_TIMEOUT_MS });

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly lines: string[];
}

/** Runs a fixture to its end; `onLine` may kill it. */
async function run(
  name: string,
  args: readonly string[],
  onLine: (line: string, kill: () => void) => void = () => undefined,
): Promise<Ended> {
  const child = spawn(process.execPath, [fixture(name), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  createInterface(child.stdout).on('line', (line) => {
    lines.push(line);
    onLine(line, () => child.kill('SIGKILL'));
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, lines };
}

test('SIGKILL during writes leaves only whole files, and every write that was confirmed', async () => {
  const house = new CacheHouse();
  for (const killAt of [0, 7, 23, 91, 198]) {
    // It writes until it is killed, however late that comes.
    const { signal, lines } = await run('cache-writer.mjs', [house.directory, 'Infinity'], (line, kill) => {
      if (Number(line) >= killAt) kill();
    });
    expect(signal).toBe('SIGKILL');
    const confirmed = Number(lines.at(-1));
    const cache = house.open({ clock: systemClock });
    for (let key = 0; key < 10; key++) {
      const last = confirmed - ((confirmed - key + 10) % 10);
      const value = await cache.get<{ n: number; pad: string }>(`key${key}`);
      if (last >= 0) expect(value?.n).toBeGreaterThanOrEqual(last);
      if (value !== undefined) expect(value.pad).toBe(String(value.n).padStart(5, '0').repeat(2_000));
    }
    expect(cache.stats.quarantined).toBe(0);
  }
  const { code } = await run('cache-writer.mjs', [house.directory, '200']);
  expect(code).toBe(0);
});

test('two processes do mixed operations on one directory, and no read is torn', async () => {
  const house = new CacheHouse();
  const operations = 5 * RUNS;
  const args = (name: string): string[] => [house.directory, `${operations}`, name];
  const ended = await Promise.all(['a', 'b'].map((name) => run('cache-mixed.mjs', args(name))));
  for (const { code, lines } of ended) {
    expect(code).toBe(0);
    const report = JSON.parse(lines[0] ?? '{}') as { found: number };
    expect(report).toMatchObject({ quarantined: 0, writeFailures: 0, unsaved: 0 });
    expect(report.found).toBeGreaterThan(operations / 10);
  }
  expect(house.files().filter((file) => file.endsWith('.tmp'))).toEqual([]);
  expect(house.quarantined()).toEqual([]);
});

test('nothing is lost by never calling close, and nothing holds the process open', async () => {
  const house = new CacheHouse();
  const { code } = await run('cache-careless.mjs', [house.directory]);
  expect(code).toBe(0);
  const cache = house.open({ clock: systemClock });
  for (let n = 0; n < 100; n++) expect(await cache.get(`key${n}`)).toEqual({ n });
  expect(await cache.get('loaded')).toBe('value');
});
