import { expect, test } from 'vitest';
import { CircuitBreaker, type CircuitBreakerOptions } from '../../../src/concurrent/index.js';
import {
  NotSentError,
  OutcomeUnknownError,
  RequestTimeoutError,
  RpcError,
  UnauthorizedError,
  UpstreamBusyError,
} from '../../../src/core/errors.js';
import { CircuitOpenError } from '../../../src/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

function setup(options: CircuitBreakerOptions = {}) {
  const clock = new FakeClock();
  const changes: string[] = [];
  const breaker = new CircuitBreaker({ clock, onChange: (state) => changes.push(state), ...options });
  const fail = (error: unknown = new UpstreamBusyError('s', 503)): void => breaker.failed(breaker.enter(), error);
  const succeed = (): void => breaker.succeeded(breaker.enter());
  return { clock, breaker, changes, fail, succeed };
}

test('failures in a row open it, a success starts the count anew, and a try after the time closes it', async () => {
  const { clock, breaker, changes, fail, succeed } = setup({ name: 'x', threshold: 3, resetMs: 1_000 });
  fail();
  fail();
  succeed();
  fail();
  fail();
  expect(breaker.state).toBe('closed');
  const last = new UpstreamBusyError('s', 502);
  fail(last);
  expect(breaker.state).toBe('open');
  await clock.advance(400);
  expect(breaker.retryAfterMs).toBe(600);
  expect(() => breaker.enter()).toThrow(CircuitOpenError);
  expect(() => breaker.enter()).toThrow(expect.objectContaining({ retryAfterMs: 600, cause: last }) as Error);
  await clock.advance(600);
  const probe = breaker.enter();
  expect(breaker.state).toBe('half-open');
  expect(() => breaker.enter()).toThrow(expect.objectContaining({ retryAfterMs: 1_000 }) as Error);
  breaker.succeeded(probe);
  expect(breaker.state).toBe('closed');
  expect(breaker.retryAfterMs).toBe(0);
  expect(changes).toEqual(['open', 'half-open', 'closed']);
});

test('several probes must all succeed; the first that fails opens it again, for longer each time', async () => {
  const { clock, breaker, fail } = setup({ threshold: 1, resetMs: 100, maxResetMs: 300, halfOpenProbes: 3 });
  fail();
  await clock.advance(100);
  const probes = [breaker.enter(), breaker.enter(), breaker.enter()] as const;
  expect(() => breaker.enter()).toThrow(CircuitOpenError);
  breaker.succeeded(probes[0]);
  // A probe counts once, however often it is ended.
  breaker.succeeded(probes[0]);
  breaker.succeeded(probes[0]);
  expect(breaker.inspect()).toMatchObject({ state: 'half-open', probing: 2 });
  breaker.failed(probes[1], new UpstreamBusyError('s', 503));
  expect(breaker.inspect()).toMatchObject({ state: 'open', retryAfterMs: 200, opened: 2 });
  // It belongs to a time that is over.
  breaker.succeeded(probes[2]);
  expect(breaker.state).toBe('open');
  await clock.advance(200);
  breaker.failed(breaker.enter(), new UpstreamBusyError('s', 503));
  expect(breaker.retryAfterMs).toBe(300);
});

test('probes that never end let one more try after each reset time', async () => {
  const { clock, breaker, fail } = setup({ threshold: 1, resetMs: 100 });
  fail();
  await clock.advance(100);
  breaker.enter();
  await clock.advance(99);
  expect(() => breaker.enter()).toThrow(CircuitOpenError);
  await clock.advance(1);
  breaker.succeeded(breaker.enter());
  expect(breaker.state).toBe('closed');
});

test('a call that began while it was closed proves nothing later', async () => {
  const { clock, breaker, fail } = setup({ threshold: 2, resetMs: 100 });
  const early = [breaker.enter(), breaker.enter()] as const;
  fail();
  fail();
  breaker.succeeded(early[0]);
  expect(breaker.state).toBe('open');
  await clock.advance(100);
  const probe = breaker.enter();
  breaker.failed(early[1], new UpstreamBusyError('s', 503));
  expect(breaker.state).toBe('half-open');
  breaker.abandoned(probe);
  expect(breaker.inspect()).toMatchObject({ state: 'open', retryAfterMs: 0 });
});

test('a share of failures opens it once there were enough calls, and old ones are forgotten', async () => {
  const { clock, breaker, fail, succeed } = setup({ failureRatio: 0.5, minCalls: 10, windowMs: 1_000 });
  for (let i = 0; i < 4; i++) fail();
  for (let i = 0; i < 5; i++) succeed();
  expect(breaker.inspect().window).toEqual({ calls: 9, failures: 4, slow: 0 });
  await clock.advance(1_100);
  for (let i = 0; i < 5; i++) succeed();
  for (let i = 0; i < 4; i++) fail();
  expect(breaker.inspect().window).toEqual({ calls: 9, failures: 4, slow: 0 });
  expect(breaker.state).toBe('closed');
  fail();
  expect(breaker.state).toBe('open');
});

test('a share of slow calls opens it, and a slow probe does not close it', async () => {
  const { clock, breaker } = setup({ slowCallMs: 100, slowCallRatio: 0.5, minCalls: 4, resetMs: 1_000 });
  const take = async (ms: number): Promise<void> => {
    const ticket = breaker.enter();
    await clock.advance(ms);
    breaker.succeeded(ticket);
  };
  await take(99);
  await take(10);
  await take(100);
  expect(breaker.inspect().window).toEqual({ calls: 3, failures: 0, slow: 1 });
  await take(150);
  expect(breaker.state).toBe('open');
  await clock.advance(1_000);
  await take(200);
  expect(breaker.state).toBe('open');
  await clock.advance(1_000);
  await take(20);
  expect(breaker.state).toBe('closed');
});

test('forced open it refuses, forced closed it lets everything in, until a reset', async () => {
  const { clock, breaker, fail, changes } = setup({ threshold: 1, resetMs: 500 });
  breaker.forceOpen();
  await clock.advance(60_000);
  expect(() => breaker.enter()).toThrow(expect.objectContaining({ retryAfterMs: 500 }) as Error);
  expect(breaker.inspect()).toMatchObject({ state: 'open', forced: true, refused: 1 });
  breaker.forceClosed();
  for (let i = 0; i < 20; i++) fail();
  expect(breaker.inspect()).toMatchObject({ state: 'closed', forced: true, opened: 0 });
  breaker.reset();
  fail();
  expect(breaker.state).toBe('open');
  expect(changes).toEqual(['open', 'closed', 'open']);
});

test('a reset forgets the calls before it, those in flight too', () => {
  const { breaker, fail } = setup({ threshold: 2 });
  const early = breaker.enter();
  fail();
  breaker.reset();
  breaker.failed(early, new UpstreamBusyError('s', 503));
  expect(breaker.inspect().failuresInRow).toBe(0);
});

const lost = new OutcomeUnknownError('s', 'm', 'the connection was lost');
const refused = new NotSentError('s', 'no connection', new Error('ECONNREFUSED'));
test.each([
  ['a lost connection', lost, 'open'],
  ['a refused connection', refused, 'open'],
  ['a 503', new UpstreamBusyError('s', 503), 'open'],
  ['an error of the user', new TypeError('fetch failed'), 'open'],
  ['a lost session', new NotSentError('s', 'its session was forgotten'), 'closed'],
  ['a timeout', new RequestTimeoutError('s', 'm', 10), 'closed'],
  ['the timeout of a signal', AbortSignal.timeout(0).reason ?? new DOMException('late', 'TimeoutError'), 'closed'],
  ['an abort', new DOMException('never mind', 'AbortError'), 'closed'],
  ['a JSON-RPC error', new RpcError('s', -32_602, 'no'), 'closed'],
])('%s by default', (_, error, state) => {
  const { breaker, fail } = setup({ threshold: 1 });
  fail(error);
  expect(breaker.state).toBe(state);
});

test('timeouts count when asked for; an answer that is an error starts the count anew, an abort does not', () => {
  const { breaker, fail } = setup({ threshold: 3, countTimeouts: true });
  fail(new RequestTimeoutError('s', 'm', 10));
  fail(new RequestTimeoutError('s', 'm', 10));
  fail(new DOMException('never mind', 'AbortError'));
  expect(breaker.inspect().failuresInRow).toBe(2);
  fail(new UnauthorizedError('s'));
  expect(breaker.inspect().failuresInRow).toBe(0);
});

test('what the functions of the options throw is logged, and the call goes on', () => {
  const logged: string[] = [];
  const log = (_: object, message: string): number => logged.push(message);
  const logger = { error: log, warn: log, info: log, debug: log } as never;
  const bad = (): never => {
    throw new Error('a bug');
  };
  const one = setup({ threshold: 1, isFailure: bad, logger });
  one.fail();
  expect(one.breaker.state).toBe('closed');
  const two = setup({ threshold: 1, onChange: bad, logger });
  two.fail();
  expect(two.breaker.state).toBe('open');
  expect(logged).toEqual(['isFailure or isAnswer of a circuit breaker failed', 'onChange of a circuit breaker failed']);
});

test('call settles as its function does, and refuses when open', async () => {
  const { breaker } = setup({ threshold: 1, isFailure: (error) => error === 'bad' });
  expect(await breaker.call(() => 1)).toBe(1);
  await expect(breaker.call(() => Promise.reject('fine'))).rejects.toBe('fine');
  expect(breaker.state).toBe('closed');
  await expect(
    breaker.call(() => {
      throw 'bad';
    }),
  ).rejects.toBe('bad');
  await expect(breaker.call(() => 1)).rejects.toThrow(CircuitOpenError);
});

test.each([
  [{ threshold: 0 }, 'threshold'],
  [{ threshold: 1.5 }, 'threshold'],
  [{ failureRatio: 1.1 }, 'failureRatio'],
  [{ failureRatio: Number.NaN }, 'failureRatio'],
  [{ slowCallMs: -1 }, 'slowCallMs'],
  [{ slowCallRatio: Number.POSITIVE_INFINITY }, 'slowCallRatio'],
  [{ windowMs: 9 }, 'windowMs'],
  [{ minCalls: 0 }, 'minCalls'],
  [{ resetMs: 0 }, 'resetMs'],
  [{ resetMs: 10, maxResetMs: 9 }, 'maxResetMs'],
  [{ halfOpenProbes: 0 }, 'halfOpenProbes'],
  [{ isFailure: 1 as never }, 'isFailure'],
  [{ treshold: 3 } as never, "did you mean 'threshold'"],
])('refuses %j', (options, why) => {
  expect(() => new CircuitBreaker(options)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }) as Error);
  expect(() => new CircuitBreaker(options)).toThrow(why);
});

test('votes: of failures in a row one caller’s count for half of the threshold, and a success forgets them', () => {
  const { breaker, succeed } = setup({ threshold: 4 });
  const vote = (voter: string): void => breaker.failed(breaker.enter(), new UpstreamBusyError('s', 503), voter);
  for (let i = 0; i < 9; i++) vote('eve');
  expect(breaker.inspect()).toMatchObject({ state: 'closed', failuresInRow: 2 });
  succeed();
  for (const voter of ['eve', 'eve', 'mallory']) vote(voter);
  expect(breaker.state).toBe('closed');
  vote('mallory');
  expect(breaker.state).toBe('open');
});

test('votes: beside failures that count in full they count too, and a single caller opens not even a breaker of threshold 1', () => {
  const { breaker, fail } = setup({ threshold: 1 });
  const vote = (voter: string): void => breaker.failed(breaker.enter(), new UpstreamBusyError('s', 503), voter);
  for (let i = 0; i < 3; i++) vote('eve');
  expect(breaker.state).toBe('closed');
  vote('mallory');
  expect(breaker.state).toBe('open');
  breaker.reset();
  vote('eve');
  fail();
  expect(breaker.state).toBe('open');
});

test('votes: of a share of failures they are no part', () => {
  const { breaker, succeed } = setup({ threshold: Number.POSITIVE_INFINITY, failureRatio: 0.5, minCalls: 2 });
  for (const voter of ['eve', 'mallory', 'trudy']) breaker.failed(breaker.enter(), new Error('no'), voter);
  succeed();
  succeed();
  expect(breaker.inspect()).toMatchObject({ state: 'closed', window: { calls: 2, failures: 0 } });
});

test('votes: one caller’s probe opens it for nobody else, another’s after it does', async () => {
  const { clock, breaker, fail } = setup({ threshold: 1, resetMs: 100 });
  const vote = (voter: string): void => breaker.failed(breaker.enter(), new UpstreamBusyError('s', 503), voter);
  fail();
  await clock.advance(100);
  vote('eve');
  vote('eve');
  // The next may try at once.
  expect(breaker.retryAfterMs).toBe(0);
  vote('mallory');
  expect(breaker.retryAfterMs).toBe(100);
  await clock.advance(100);
  vote('mallory');
  breaker.succeeded(breaker.enter());
  expect(breaker.state).toBe('closed');
});

test('a caller whose probe hangs leaves the next place to others, and has one again later', async () => {
  const clock = new FakeClock();
  const breaker = new CircuitBreaker({ threshold: 1, resetMs: 1_000, clock });
  breaker.failed(breaker.enter(), new Error('down'));
  await clock.advance(1_000);
  breaker.enter('hangs');
  expect(() => breaker.enter('other')).toThrow(CircuitOpenError);
  await clock.advance(1_000);
  const refused = (): number => {
    try {
      breaker.enter('hangs');
    } catch (error) {
      return (error as CircuitOpenError).retryAfterMs;
    }
    return 0;
  };
  expect(refused()).toBe(1_000);
  breaker.succeeded(breaker.enter('other'));
  expect(breaker.state).toBe('closed');
  // Alone, and with its first probe still running, it may try again later than others might.
  breaker.failed(breaker.enter('hangs'), new Error('down'));
  await clock.advance(1_000);
  breaker.enter('hangs');
  await clock.advance(1_999);
  expect(refused()).toBe(1);
  await clock.advance(1);
  breaker.succeeded(breaker.enter('hangs'));
  expect(breaker.state).toBe('closed');
});
