import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import {
  AdaptiveLimit,
  Balancer,
  Bulkhead,
  CircuitBreaker,
  MultiServerRateLimiter,
  OutlierDetector,
  ResourcePool,
} from '../../src/concurrent/index.js';
import { type Logger, silentLogger } from '../../src/core/logger.js';
import { OutcomeUnknownError } from '../../src/errors.js';
import { limit } from '../../src/middleware/index.js';
import { closeAfter } from '../support/closeAfter.js';

const OPTION = expect.objectContaining({ code: 'ERR_OPTION' });
const caught = async (run: () => unknown): Promise<unknown> => {
  try {
    return await run();
  } catch (error) {
    return error;
  }
};
/** TypeScript refuses it where an answer is wanted at once; JavaScript does not. */
const later = (async () => {
  throw new Error('later');
}) as () => never;

test('an async function where one has to answer at once is an error of that call, and its rejection is handled', async () => {
  const logged: unknown[] = [];
  const logger: Logger = { ...silentLogger, error: (...line: unknown[]) => void logged.push(line) };
  const breaker = new CircuitBreaker({ threshold: 1, isFailure: later, logger });
  breaker.failed(breaker.enter(), new OutcomeUnknownError('s', 'call', 'down'));
  const answers = new CircuitBreaker({
    threshold: 1,
    isFailure: () => false,
    isAnswer: later,
    logger,
  });
  answers.failed(answers.enter(), new Error('x'));
  expect([breaker.inspect().state, answers.inspect().state, logged.length]).toEqual(['closed', 'closed', 2]);

  const balancer = new Balancer({ targets: [{ id: 'a', target: 'a' }] });
  expect(await caught(() => balancer.pick({ exclude: later }))).toEqual(OPTION);
  const keyed = closeAfter(new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1_000, keyOf: later }));
  expect(await caught(() => keyed.for({ server: 's', method: 'x', tool: undefined, caller: undefined }))).toEqual(
    OPTION,
  );
  const pool = closeAfter(new ResourcePool({ create: async () => ({}), destroy: () => undefined }));
  (await pool.acquire()).release();
  expect(await caught(() => pool.retireWhere(later))).toEqual(OPTION);
  expect(pool.stats.live).toBe(1);
  const byKey = limit({ by: later, bulkhead: closeAfter(new Bulkhead({ maxConcurrent: 1 })) });
  const call = { kind: 'request', from: 'client' } as Parameters<typeof byKey>[0];
  expect(await caught(() => byKey(call, later))).toEqual(OPTION);
  // Else these would be told as unhandled by now.
  await turn();
});

test('limits of single servers, keys and targets are checked as all options are', async () => {
  const odd = [5, 'x', null, []] as never[];
  const wrong: readonly (() => unknown)[] = [
    ...odd.flatMap((value) => [
      () => new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1, perServer: value }),
      () => new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1, perServer: { a: value } }),
      () => new Bulkhead({ maxConcurrent: 1, perKey: value }),
      () => new Balancer({ targets: [], outliers: value }),
    ]),
    () => new MultiServerRateLimiter({ maxRequests: 1, windowMs: 1, perServer: { a: { maxRequest: 5 } as never } }),
    () => new OutlierDetector({ failureRatio: true as never }),
    () => new OutlierDetector({ failureRatio: Symbol('x') as never }),
  ];
  for (const make of wrong) expect(await caught(make), String(make)).toEqual(OPTION);
});

test('a ticket of an adaptive limit ends once, and only there', () => {
  const one = new AdaptiveLimit({ initialLimit: 2 });
  const other = new AdaptiveLimit({ initialLimit: 2 });
  const ticket = one.tryAcquire();
  const kept = one.tryAcquire();
  if (ticket === undefined || kept === undefined) throw new Error('no ticket');
  other.succeeded(ticket);
  one.succeeded(ticket);
  for (const again of ['succeeded', 'dropped', 'ignored'] as const) one[again](ticket);
  one.dropped({ startedMs: 0 });
  expect([one.inFlight, other.inFlight, one.inspect().dropped]).toEqual([1, 0, 0]);
  one.ignored(kept);
  expect(one.inFlight).toBe(0);
});
