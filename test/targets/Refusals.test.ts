import { expect, test } from 'vitest';
import { RpcError } from '../../src/core/errors.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { type Exchange, RawServer } from '../support/rawServer.js';
import { said } from '../support/stdioPool.js';
import { many, pool, several, who } from '../support/upstreams.js';

const STATUS = { forbidden: 403, unauthorized: 401, limited: 429 } as const;

/** A server that refuses the tool `admin` with that status when it is `refusing`, and says its name to all else. */
function target(name: string, refusing: boolean, status: number): Promise<RawServer> {
  return RawServer.listen({
    tools: {
      who: ({ answer }) => answer(name),
      admin: ({ json, answer }) => (refusing ? json({}, status) : answer(name)),
    },
  });
}

async function twoTargets(status: number, refusing: readonly [boolean, boolean]) {
  const all = await Promise.all([target('a', refusing[0], status), target('b', refusing[1], status)]);
  const clock = new FakeClock();
  const of = pool({ clock });
  const targets = all.map((each) => ({ url: closeAfter(each).url, transport: 'http' as const }));
  of.addServer(several(targets, { balance: 'failover', era: 'legacy' }));
  const admin = (principal: string): Promise<string> =>
    said(of.request('app', 'tools/call', { name: 'admin' }, { caller: { principal } })).catch((error: Error) =>
      error instanceof RpcError ? 'error' : 'refused',
    );
  return { of, clock, admin };
}

test.each([
  ['forbidden', { eve: 'a', alice: 'a' }],
  ['unauthorized', { eve: 'b', alice: 'a' }],
  ['limited', { eve: 'b', alice: 'a' }],
] as const)(
  'a target that refuses calls as %s gets none of those it concerns for a while, and all others',
  async (how, others) => {
    const { of, clock, admin } = await twoTargets(STATUS[how], [true, false]);
    const by = (principal: string) => ({ caller: { principal } });
    // What is limited may be tried elsewhere at once.
    expect(await admin('eve')).toBe(how === 'limited' ? 'b' : 'refused');
    expect(await many(5, () => admin('eve'))).toEqual({ b: 5 });
    expect(await many(3, () => who(of, by('eve')))).toEqual({ [others.eve]: 3 });
    expect(await many(3, () => who(of, by('alice')))).toEqual({ [others.alice]: 3 });
    expect(await many(3, () => who(of))).toEqual({ a: 3 });
    await clock.advance(10_000);
    expect(await many(1, () => who(of, by('eve')))).toEqual({ a: 1 });
    expect(await admin('eve')).toBe(how === 'limited' ? 'b' : 'refused');
  },
);

test('a target that finds a caller’s calls of a tool too large gets none of them for a while, and all others', async () => {
  const { of, clock, admin } = await twoTargets(413, [true, false]);
  expect(await admin('eve')).toBe('refused');
  expect(await many(3, () => admin('eve'))).toEqual({ b: 3 });
  expect(await who(of, { caller: { principal: 'eve' } })).toBe('a');
  expect(await admin('alice')).toBe('refused');
  await clock.advance(10_000);
  expect(await admin('eve')).toBe('refused');
});

test('an error is no quick answer: latencies are those of results', async () => {
  let answer: (() => void) | undefined;
  const held = (exchange: Exchange): void => {
    answer = () => exchange.answer('late');
  };
  const all = await Promise.all([target('a', false, 403), RawServer.listen({ tools: { who: held } })]);
  const clock = new FakeClock();
  const of = pool({ clock });
  const targets = all.map((each) => ({ url: closeAfter(each).url, transport: 'http' as const }));
  of.addServer(several(targets, { balance: 'round-robin', era: 'legacy' }));
  const latencies = (): unknown => of.stats('app').targets?.map(({ ewmaMs }) => Math.round(ewmaMs ?? -1));
  await who(of);
  const late = who(of);
  await expect.poll(() => answer).toBeDefined();
  await clock.advance(1_000);
  answer?.();
  await late;
  expect(latencies()).toEqual([0, 1_000]);
  await expect(of.request('app', 'no/such')).rejects.toThrow(RpcError);
  expect(latencies()).toEqual([1_000, 1_000]);
});

test('where all targets refuse, calls go where they would', async () => {
  const { of, admin } = await twoTargets(403, [true, true]);
  expect(await many(30, () => admin('eve'))).toEqual({ refused: 30 });
  expect(await many(3, () => who(of, { caller: { principal: 'eve' } }))).toEqual({ a: 3 });
});
