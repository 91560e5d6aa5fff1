import { expect, test } from 'vitest';
import { MultiServerRateLimiter } from '../../../src/concurrent/limiter/MultiServerRateLimiter.js';
import { keyText, ownText } from '../../../src/core/text/ownText.js';
import { targetOf } from '../../../src/pool/server/calls/trace.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { collectGarbage } from '../../support/collectGarbage.js';
import { fixture } from '../../support/servers.js';

const NAMES = 15;
const MIB = 2 ** 20;

/** Names of 2 MB that are made by parsing, as those of a message are. */
const longName = (n: number): string => JSON.parse(`"${String(n).padEnd(2 * MIB, 'x')}"`) as string;

/** What use of names of 2 MB each leaves in memory, in MiB; fewer than `few` are not looked at again. */
async function heldMibBy(use: (name: string) => unknown, few = 4): Promise<number> {
  const before = collectGarbage();
  const kept: unknown[] = [];
  for (let n = 0; n < NAMES; n++) kept.push(await use(longName(n)));
  // What the last calls leave to a pipe or a finalizer goes a little later: what stays is held.
  let held = Number.POSITIVE_INFINITY;
  for (let looks = 0; looks < 20 && held >= few * MIB; looks++) {
    held = Math.min(held, collectGarbage() - before);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(kept).toHaveLength(NAMES);
  return held / MIB;
}

test('a beginning is that of the text, and holds nothing of the rest', async () => {
  expect(ownText('short', 5)).toBe('short');
  expect(ownText('é\ud800😀rest', 4)).toBe('é\ud800😀');
  expect(await heldMibBy((name) => name.slice(0, 1_024), Number.POSITIVE_INFINITY)).toBeGreaterThan(NAMES);
  expect(await heldMibBy((name) => ownText(name, 1_024))).toBeLessThan(4);
});

test('a long key is its digest: equal for equal texts alone', () => {
  expect(keyText('a'.repeat(1_024))).toBe('a'.repeat(1_024));
  const [one, two] = [`${'a'.repeat(2_000)}\ud800`, `${'a'.repeat(2_000)}\ud801`];
  expect(keyText(one).length).toBeLessThan(64);
  expect(keyText(one)).toBe(keyText(`${'a'.repeat(2_000)}\ud800`));
  expect(keyText(one)).not.toBe(keyText(two));
});

test('what a call is about, as traces and metrics keep it, holds nothing of a long name', async () => {
  expect(await heldMibBy((name) => targetOf('tools/call', { name }))).toBeLessThan(4);
});

test('a limiter for each name that clients make up holds no long names, and limits each', async () => {
  const limiter = closeAfter(
    new MultiServerRateLimiter({ maxRequests: 1, windowMs: 60_000, keyOf: ({ tool }) => tool }),
  );
  const held = await heldMibBy((tool) => {
    const of = limiter.for({ server: 's', method: 'tools/call', tool });
    expect([of?.tryAcquire(), of?.tryAcquire()]).toEqual([true, false]);
    expect(limiter.tryAcquire(tool)).toBe(false);
    expect(limiter.stats(tool)?.current).toBe(1);
    return 0;
  });
  expect(held).toBeLessThan(4);
  expect(limiter.size).toBe(NAMES);
});

test('breakers of tools hold no long names', async () => {
  const pool = closeAfter(new UnifiedPool({ ledger: false, breakerScope: 'tool' }));
  pool.addServer({ name: 's', transport: 'stdio', command: process.execPath, args: [fixture('echo-server.mjs')] });
  await pool.request('s', 'tools/list', {});
  const held = await heldMibBy(async (name) => {
    await pool.request('s', 'tools/call', { name, arguments: {} }).catch(() => undefined);
    return 0;
  }, 10);
  expect(held).toBeLessThan(10);
});
