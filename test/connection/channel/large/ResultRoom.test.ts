import { expect, test, vi } from 'vitest';
import { Shares } from '../../../../src/concurrent/Shares.js';
import { ChainRuns } from '../../../../src/connection/calls/ChainRuns.js';
import type { Middleware } from '../../../../src/connection/calls/Middleware.js';
import { MiddlewareChain } from '../../../../src/connection/calls/MiddlewareChain.js';
import { throughChain } from '../../../../src/connection/calls/throughChain.js';
import { silentLogger } from '../../../../src/core/logger.js';
import { FakeClock } from '../../../../src/testing/FakeClock.js';

const MB = 1_024 * 1_024;

interface Asked {
  readonly server: string;
  readonly bytes: number;
  readonly principal?: string;
  readonly signal?: AbortSignal;
  readonly deadlineMs?: number;
}

/** Calls through middleware that keeps each result until it is told to go on. */
function keeping(...before: readonly Middleware[]) {
  const clock = new FakeClock();
  const chain = new MiddlewareChain();
  /** Results that are with middleware, by whose they are, in the order in which they came. */
  const kept: { readonly server: string; readonly bytes: number; readonly goOn: () => void }[] = [];
  chain.use(async ({ server = '' }, next) => {
    const { raw } = await next();
    await new Promise<void>((resolve) => kept.push({ server, bytes: (raw as Buffer).length, goOn: resolve }));
    return { server };
  });
  for (const each of before) chain.use(each);
  const parts = { chain, runs: new ChainRuns(clock), logger: silentLogger };
  const call = ({ server, bytes, principal, signal, deadlineMs }: Asked): Promise<unknown> => {
    const caller = principal === undefined ? undefined : { principal };
    const origin = {
      server,
      caller,
      era: () => undefined,
      kind: 'request',
      from: 'client',
      method: 'tools/call',
    } as const;
    const options = { ...(signal && { signal }), ...(deadlineMs !== undefined && { deadlineMs }) };
    const send = async (): Promise<unknown> => Buffer.alloc(bytes);
    const result = throughChain(parts, { ...origin, idempotent: false }, {}, options, send);
    return result.then(({ value }) => value).catch((error: unknown) => error);
  };
  const begun = async (count: number): Promise<void> => {
    await expect.poll(() => kept.length).toBeGreaterThanOrEqual(count);
    await new Promise((resolve) => setImmediate(resolve));
    expect(kept).toHaveLength(count);
  };
  /** Lets go of all of them in their order, until so many have been. */
  const finish = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      await expect.poll(() => kept.length).toBeGreaterThan(at);
      kept[at]?.goOn();
    }
  };
  return { clock, kept, call, begun, finish };
}

test('of large results that come at once one is with middleware at a time; what waits is bounded, and one server leaves room for others', async () => {
  const { call, kept, begun, finish } = keeping();
  const all = Array.from({ length: 4 }, () => call({ server: 'flood', bytes: 50 * MB }));
  expect(await call({ server: 'flood', bytes: 50 * MB })).toMatchObject({
    code: 'ERR_MESSAGE_TOO_LARGE',
    acted: 'perhaps',
    message: expect.stringContaining('wait for middleware'),
  });
  all.push(call({ server: 'other', bytes: 50 * MB }));
  // Those that are not as large, and short ones, wait for none of them.
  all.push(call({ server: 'flood', bytes: MB }), call({ server: 'flood', bytes: 10_000 }));
  await begun(3);
  await finish(all.length);
  expect(await Promise.all(all)).not.toContainEqual(expect.any(Error));
  expect(kept.findIndex(({ server }) => server === 'other')).toBeLessThan(5);
});

test('of smaller ones so many are with middleware as there is room for what may be made of them; callers take turns', async () => {
  const { call, kept, finish } = keeping();
  const all = Array.from({ length: 100 }, () => call({ server: 'flood', bytes: MB, principal: 'ann' }));
  await expect.poll(() => kept.length).toBeGreaterThan(2);
  const most = kept.length;
  // Thirty times a megabyte each, of 384 at most.
  expect(most).toBeLessThan(12);
  all.push(call({ server: 'flood', bytes: MB, principal: 'ben' }), call({ server: 'other', bytes: MB }));
  await expect.poll(() => kept.length).toBe(most + 1);
  expect(kept.at(-1)?.server).toBe('other');
  await finish(all.length);
  expect(await Promise.all(all)).not.toContainEqual(expect.any(Error));
});

test('however many callers wait, one look at each server says who is next', async () => {
  const looks = vi.spyOn(Shares.prototype, 'mayTake');
  const { call, finish } = keeping();
  const all = Array.from({ length: 200 }, (_, at) => call({ server: 's', bytes: 300_000, principal: `p${at}` }));
  await finish(all.length);
  expect(await Promise.all(all)).not.toContainEqual(expect.any(Error));
  expect(looks.mock.calls.length).toBeLessThan(5 * all.length);
  looks.mockRestore();
});

test('one that waits ends with its call: given up, or at its deadline; and it leaves its place to the next', async () => {
  const { call, clock, kept, begun, finish } = keeping();
  const first = call({ server: 'a', bytes: 50 * MB });
  await begun(1);
  const control = new AbortController();
  const reason = new Error('left');
  const left = call({ server: 'a', bytes: 50 * MB, signal: control.signal });
  const late = call({ server: 'a', bytes: 50 * MB, deadlineMs: 5_000 });
  const next = call({ server: 'a', bytes: 50 * MB, deadlineMs: 6_000 });
  await new Promise((resolve) => setImmediate(resolve));
  control.abort(reason);
  expect(await left).toBe(reason);
  await clock.advance(5_500);
  expect(await late).toMatchObject({ code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 5_000 });
  expect(kept).toHaveLength(1);
  await finish(2);
  expect([await first, await next]).toEqual([{ server: 'a' }, { server: 'a' }]);
});

test('middleware that never lets go of a result holds up others for 10 s, and one that asks again gives back what it had', async () => {
  const hung = keeping();
  void hung.call({ server: 'a', bytes: 50 * MB });
  await hung.begun(1);
  const next = hung.call({ server: 'a', bytes: 50 * MB });
  await new Promise((resolve) => setImmediate(resolve));
  await hung.clock.advance(10_000);
  await hung.begun(2);
  hung.kept[1]?.goOn();
  expect(await next).toEqual({ server: 'a' });

  const again = keeping(async (_call, send) => {
    await send();
    return send();
  });
  const both = ['a', 'b'].map((server) => again.call({ server, bytes: 50 * MB }));
  await again.finish(2);
  expect(await Promise.all(both)).toEqual([{ server: 'a' }, { server: 'b' }]);
});

test('what a middleware answers by itself has its turn before it goes on to the next', async () => {
  const { call, begun, finish } = keeping(async () => Buffer.alloc(50 * MB));
  const all = ['a', 'b'].map((server) => call({ server, bytes: 1 }));
  await begun(1);
  await finish(2);
  expect(await Promise.all(all)).toEqual([{ server: 'a' }, { server: 'b' }]);
});

test('a middleware that asks twice at once has one place, and one that has ended keeps none: neither for what waits nor for what comes', async () => {
  const [first, next] = [keeping(), keeping()];
  const twice = keeping(async (_call, send) => (await Promise.all([send(), send()]))[0]);
  const answers: Promise<unknown>[] = [];
  const ended = keeping(async (_call, send) => {
    answers.push(send());
    await new Promise((resolve) => setImmediate(resolve));
    answers.push(send());
    throw new Error('too late');
  });
  const asked = [first.call({ server: 'a', bytes: 50 * MB })];
  await first.begun(1);
  asked.push(twice.call({ server: 'a', bytes: 50 * MB }));
  const left = ended.call({ server: 'b', bytes: 50 * MB });
  expect(await left).toMatchObject({ message: 'too late' });
  await Promise.all(answers);
  expect(ended.clock.armedTimers).toBe(0);
  await first.finish(1);
  await twice.finish(1);
  asked.push(next.call({ server: 'b', bytes: 50 * MB }));
  await next.finish(1);
  expect(await Promise.all(asked)).toEqual(['a', 'a', 'b'].map((server) => ({ server })));
});
