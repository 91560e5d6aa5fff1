import { expect, test } from 'vitest';
import type { RequestOptions } from '../../src/pool/McpPool.js';
import type { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { failure, reply } from '../support/rawCalls.js';
import { RawServer } from '../support/rawServer.js';
import { said } from '../support/stdioPool.js';
import { idempotent, pool, several, upstream } from '../support/upstreams.js';

/** Two replicas, of which `failover` takes the first: it fails the calls of `bad`, and both do those of `worse`. */
async function replicas(settings: object = {}) {
  const tools = (name: string, bad: boolean) => ({
    who: ({ answer }: { answer: (text: string) => void }) => answer(name),
    worse: reply(502),
    bad: bad ? reply(502) : ({ answer }: { answer: (text: string) => void }) => answer(name),
  });
  const a = closeAfter(await RawServer.listen({ tools: tools('a', true) }));
  const b = closeAfter(await RawServer.listen({ tools: tools('b', false) }));
  const of = pool();
  const targets = [a, b].map(({ url }) => ({ url, transport: 'http' as const }));
  of.addServer(several(targets, { balance: 'failover', era: 'legacy', ...settings }));
  return of;
}

const call = (of: UnifiedPool, name: string, options: RequestOptions): Promise<string> =>
  said(of.request('app', 'tools/call', { name }, options));
const by = (principal: string): RequestOptions => ({ caller: { principal } });
const out = (of: UnifiedPool): unknown => of.stats('app').targets?.map((each) => each.ejected);

test('a replica that fails one user’s calls and answers pings is left by that user at once, and by no other', async () => {
  const of = await replicas();
  expect(await failure(call(of, 'bad', by('eve')))).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(await call(of, 'bad', by('eve'))).toBe('b');
  expect(await call(of, 'who', by('alice'))).toBe('a');
  // Those of no principal are told apart by where they come from.
  const from = (origin: string): RequestOptions => ({ caller: { origin } });
  expect(await failure(call(of, 'bad', from('10.0.0.1')))).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(await call(of, 'bad', from('10.0.0.1 with extensions'))).toBe('b');
  expect(await call(of, 'who', from('10.0.0.2'))).toBe('a');
  expect(out(of)).toEqual([false, false]);
});

test('one caller’s failures on a replica that answers pings do not eject it, those of several in a row do', async () => {
  const of = await replicas({ outliers: { consecutiveFailures: 3 } });
  const bad = (name: string): Promise<unknown> => failure(call(of, 'bad', by(name)));
  // Where both fail, both are tried.
  for (let i = 0; i < 12; i++) await failure(call(of, 'worse', by('eve')));
  expect(out(of)).toEqual([false, false]);
  await bad('mallory');
  expect(out(of)).toEqual([false, false]);
  await bad('trudy');
  expect(out(of)).toEqual([true, false]);
});

test('a call that may be repeated has its answer from another replica', async () => {
  const of = await replicas();
  expect(await call(of, 'bad', { ...by('eve'), ...idempotent })).toBe('b');
});

test('calls of one caller that hang eject no target from others, and the caller itself goes on elsewhere', async () => {
  const [a, b] = await Promise.all([upstream('a'), upstream('b')]);
  const of = pool();
  const targets = [a, b].map(({ url }) => ({ url, transport: 'http' as const }));
  of.addServer(several(targets, { balance: 'failover', era: 'legacy', timeouts: { byTool: { slow: 50 } } }));
  await Promise.all(Array.from({ length: 6 }, () => failure(call(of, 'slow', by('eve')))));
  expect(a.ran('slow')).toBe(6);
  expect(out(of)).toEqual([false, false]);
  expect(await call(of, 'who', by('alice'))).toBe('a');
  expect(await call(of, 'who', by('eve'))).toBe('b');
});
