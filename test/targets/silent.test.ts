import { expect, test } from 'vitest';
import type { RequestOptions } from '../../src/pool/McpPool.js';
import type { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { failure } from '../support/rawCalls.js';
import { type Exchange, RawServer } from '../support/rawServer.js';
import { said } from '../support/stdioPool.js';
import { pool, several } from '../support/upstreams.js';

/** Two targets, of which `failover` takes the first: it is up, and never answers `silent`, a method or a tool. */
async function half(silent: string, settings: object = {}) {
  const listen = async (name: string, deaf: boolean): Promise<RawServer> =>
    closeAfter(
      await RawServer.listen({
        before: ({ message, answer, json }: Exchange) => {
          const tool = message?.params?.name;
          if (deaf && (message?.method === silent || tool === silent)) return true;
          if (message?.method === 'tools/list') {
            json({ jsonrpc: '2.0', id: message.id, result: { tools: [{ name, inputSchema: { type: 'object' } }] } });
          } else if (tool !== undefined) answer(name);
          else return false;
          return true;
        },
      }),
    );
  const [a, b] = await Promise.all([listen('a', true), listen('b', false)]);
  const clock = new FakeClock();
  const of = pool({ clock });
  const targets = [a, b].map(({ url }) => ({ url, transport: 'http' as const }));
  of.addServer(several(targets, { balance: 'failover', era: 'legacy', ...settings }));
  await of.startServer('app');
  return { of, clock, a, b };
}

const by = (origin: string): RequestOptions => ({ caller: { origin } });
const tool = (of: UnifiedPool, name: string, options: RequestOptions = {}): Promise<string> =>
  said(of.request('app', 'tools/call', { name }, options));

/** Calls what `a` does not answer, for the nth time, and gives it up after so long. */
async function giveUp(
  { of, clock, a }: Awaited<ReturnType<typeof half>>,
  calls: number,
  ms: number,
  options: RequestOptions = {},
): Promise<void> {
  const control = new AbortController();
  const failed = failure(tool(of, 'look', { ...options, signal: control.signal }));
  await expect.poll(() => a.of('tools/call').length).toBe(calls);
  await clock.advance(ms);
  control.abort(new Error('it takes too long'));
  await failed;
}

test('after a call that is given up the next of its tool and caller go elsewhere, for ten times as long', async () => {
  const all = await half('look');
  const { of, clock } = all;
  await giveUp(all, 1, 2_000, by('eve'));
  expect(await tool(of, 'look', by('eve'))).toBe('b');
  expect(await tool(of, 'other', by('eve'))).toBe('a');
  await clock.advance(19_999);
  expect(await tool(of, 'look', by('eve'))).toBe('b');
  await clock.advance(1);
  await giveUp(all, 3, 2_000, by('eve'));
  expect(of.stats('app').targets?.map(({ ejected }) => ejected)).toEqual([false, false]);
});

test('a target that several callers in a row gave up is ejected', async () => {
  const all = await half('look');
  for (const [at, name] of ['a', 'b', 'c', 'd', 'e'].entries()) await giveUp(all, at + 1, 2_000, by(name));
  expect(all.of.stats('app').targets?.map(({ ejected }) => ejected)).toEqual([true, false]);
});

test('a list that is given up is asked of another target the next time, whoever asks first', async () => {
  const { of, clock, a } = await half('tools/list');
  const control = new AbortController();
  const failed = failure(of.listAll('app', 'tools', { signal: control.signal }));
  await expect.poll(() => a.of('tools/list').length).toBe(1);
  await clock.advance(10_000);
  control.abort(new Error('it takes too long'));
  await failed;
  await clock.advance(90_000);
  expect((await of.listAll('app', 'tools')).items.map(({ name }) => name)).toEqual(['b']);
  expect(a.of('tools/list')).toHaveLength(1);
});

test('a call that is given up soon moves nothing', async () => {
  const all = await half('look');
  for (const count of [1, 2, 3]) await giveUp(all, count, 200);
});
