import { expect, test } from 'vitest';
import { CallResult } from '../../src/connection/calls/CallResult.js';
import type { CallChanges } from '../../src/connection/calls/Middleware.js';
import { type CallOrigin, MiddlewareChain, type PassedCall } from '../../src/connection/calls/MiddlewareChain.js';
import { systemClock } from '../../src/core/clock.js';
import { RequestTimeoutError } from '../../src/core/errors.js';
import { within } from '../../src/core/time/within.js';
import { cache } from '../../src/middleware/ready/cache.js';
import { coalesce } from '../../src/middleware/ready/coalesce.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { bytes, through } from '../support/throughMiddleware.js';

test('coalesce and cache keep principals apart, follow hints, and forget what a server says has changed', async () => {
  let n = 0;
  const shared = through(coalesce(), async () => ({ n: ++n }));
  const both = await Promise.all([
    shared.call('tools/list'),
    shared.call('tools/list'),
    shared.call('tools/list', {}, { principal: 'ann' }),
  ]);
  expect(both.map((each) => each.value)).toEqual([{ n: 1 }, { n: 1 }, { n: 2 }]);
  await Promise.all([shared.call('tools/call', { name: 'x' }), shared.call('tools/call', { name: 'x' })]);
  expect(n).toBe(4);

  const clock = new FakeClock();
  const kept = through(cache({ clock }), (params) => bytes({ n: ++n, ...(params?.['hint'] as object) }));
  const ask = async (hint: object, principal?: string, method = 'resources/read'): Promise<unknown> =>
    (
      (await kept.call(method, { uri: 'x:1', hint }, principal === undefined ? {} : { principal })).value as {
        n: number;
      }
    ).n;
  n = 0;
  const hour = { ttlMs: 3_600_000 };
  expect([await ask(hour, 'ann'), await ask(hour, 'ann'), await ask(hour, 'bob'), await ask(hour)]).toEqual([
    1, 1, 2, 3,
  ]);
  const open = { ttlMs: 3_600_000, cacheScope: 'public' };
  expect([await ask(open, 'ann'), await ask(open, 'bob'), await ask(open)]).toEqual([4, 4, 4]);
  expect([await ask({}), await ask({})]).toEqual([5, 6]);
  expect([await ask({ ttlMs: 10, isError: true }), await ask({ ttlMs: 10, isError: true })]).toEqual([7, 8]);
  const notice = { from: 'server', kind: 'notification' } as const;
  await kept.call('notifications/resources/updated', { uri: 'x:other' }, notice);
  expect(await ask(hour, 'ann')).toBe(1);
  await kept.call('notifications/resources/updated', { uri: 'x:1' }, notice);
  expect(await ask(hour, 'ann')).toBeGreaterThan(8);
  const before = await ask(hour, 'bob');
  await clock.advance(3_600_001);
  expect(await ask(hour, 'bob')).not.toBe(before);
});

test('coalesce: each caller keeps its own times, and the call that is shared lives as long as the longest', async () => {
  const sent: { readonly call: PassedCall; readonly settle: (value: unknown) => void }[] = [];
  const chain = new MiddlewareChain();
  chain.use(coalesce());
  const late = (timeoutMs: number): RequestTimeoutError => new RequestTimeoutError('s', 'tools/list', timeoutMs);
  /** As a pool does, but that `timeoutMs` is over when the test says so. */
  const end = async (call: PassedCall): Promise<CallResult> => {
    const { deadlineMs: timeoutMs = Number.POSITIVE_INFINITY, signal } = call;
    const answer = new Promise<unknown>((settle) => sent.push({ call, settle }));
    return CallResult.of(await within(answer, { clock: systemClock, timeoutMs, late: () => late(timeoutMs), signal }));
  };
  const ask = (changes: CallChanges, options: NonNullable<CallOrigin['options']> = {}): Promise<unknown> => {
    const origin = { kind: 'request', from: 'client', server: 's', method: 'tools/list', caller: undefined } as const;
    const asked = chain.run({ ...origin, idempotent: false, era: () => undefined, options }, {}, changes, end);
    return asked.then(
      (result) => result.value,
      (error: Error) => error.message,
    );
  };

  for (const shortFirst of [true, false]) {
    sent.length = 0;
    const first = ask(shortFirst ? { deadlineMs: 20 } : {});
    const second = ask(shortFirst ? {} : { deadlineMs: 20 });
    expect(await (shortFirst ? first : second)).toBe(late(20).message);
    expect(sent).toHaveLength(1);
    expect(sent[0]?.call.signal.aborted).toBe(false);
    sent[0]?.settle({ answered: true });
    expect(await (shortFirst ? second : first)).toEqual({ answered: true });
  }
  sent.length = 0;
  await Promise.all([ask({ deadlineMs: 20 }), ask({ deadlineMs: 10 })]);
  expect(sent.map(({ call }) => call.signal.aborted)).toEqual([true]);

  // Of other times: each by itself. Of equal ones: what came later is sent once more when the first took too long, and only once.
  sent.length = 0;
  const each = [ask({ timeoutMs: 20 }), ask({}), ask({}, { maxTotalTimeoutMs: 20 }), ask({}), ask({})];
  expect(sent).toHaveLength(3);
  sent[1]?.settle(Promise.reject(late(60_000)));
  expect(await each[1]).toBe(late(60_000).message);
  await expect.poll(() => sent.length).toBe(4);
  sent[3]?.settle(Promise.reject(late(60_000)));
  expect([await each[3], await each[4]]).toEqual([late(60_000).message, late(60_000).message]);
  for (const { settle } of sent) settle({});
  expect([await each[0], await each[2], sent.length]).toEqual([{}, {}, 4]);
  expect(await ask({ deadlineMs: -1 })).toContain('deadlineMs');
});
