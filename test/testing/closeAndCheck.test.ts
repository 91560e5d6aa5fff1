import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { setTimeout as importedSetTimeout } from 'node:timers';
import { setTimeout as promisedTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeEach, expect, test, vi } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { closeAndCheck, type LeakBaseline, leakBaseline } from '../../src/testing/closeAndCheck.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { type LedgerEntry, liveTimers } from '../../src/testing/timerLedger.js';
import { runFixture } from '../support/runFixture.js';

/** Each test leaks on purpose, sees the check fail, and cleans up: after it, the check of every test must pass. */
let baseline: LeakBaseline;

beforeEach(() => {
  baseline = leakBaseline({ settleMs: 30 });
});

const ARMED_HERE = /timer armed at\n.*closeAndCheck\.test\.ts/;

const leaks = (pattern: RegExp, of = baseline) => expect(closeAndCheck(of)).rejects.toThrow(pattern);

async function listen(): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

test('what is clean passes, again and again', async () => {
  await closeAndCheck(baseline);
  clearTimeout(setTimeout(() => undefined, 60_000));
  await promisedTimeout(1);
  await closeAndCheck(baseline);
});

test('a leaked child fails it, by pid, state and command line', async () => {
  const child = spawn('sleep', ['600']);
  await leaks(new RegExp(`child process ${child.pid} \\([RS] \\(\\w+\\)\\): sleep 600`));
  child.kill('SIGKILL');
  await once(child, 'close');
});

test('a zombie fails it', async () => {
  const { code, output } = await runFixture('zombie.mjs');
  expect(code).toBe(0);
  expect(output).toMatch(/^leaked:\n- child process \d+ \(Z \(zombie\)\): true$/);
});

test('what the event loop opens once and keeps is no leak of what came first', async () => {
  const { output } = await runFixture('first-stream.mjs');
  expect(output).toBe('clean');
});

test('what it is told to leave alone passes, and nothing else does', async () => {
  const ignoring = leakBaseline({ ignore: (leak) => leak.includes('sleep 600'), settleMs: 30 });
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  await closeAndCheck(ignoring);
  const fd = openSync(import.meta.filename, 'r');
  await expect(closeAndCheck(ignoring)).rejects.toThrow(
    /^leaked:\n- file descriptor \d+ -> .*closeAndCheck\.test\.ts$/,
  );
  closeSync(fd);
  child.kill('SIGKILL');
  await once(child, 'close');
});

test('a leaked setTimeout fails it, with the stack that armed it', async () => {
  const timer = setTimeout(() => undefined, 60_000);
  await leaks(ARMED_HERE);
  clearTimeout(timer);
});

test('with a second copy of the package in the process a timer is told once, by the line that armed it', async () => {
  const copy = '../../dist/testing/index.js';
  ((await import(copy)) as { leakBaseline(): unknown }).leakBaseline();
  const baseline = leakBaseline();
  const timer = setTimeout(() => undefined, 60_000);
  const told = String(await closeAndCheck(baseline).catch((error: unknown) => error));
  clearTimeout(timer);
  expect(told).toMatch(/^Error: leaked:\n- timer armed at\n +at .*closeAndCheck\.test\.ts/);
  expect(told.match(/timer armed/g)).toHaveLength(1);
});

test('an unref’d setInterval fails it', async () => {
  const timer = setInterval(() => undefined, 60_000).unref();
  await leaks(ARMED_HERE);
  clearInterval(timer);
});

test('of timers that are over few are kept: with the stack that armed one goes what stood in its frames', () => {
  const ledger = (globalThis as { [name: symbol]: ReadonlyMap<LedgerEntry, Error> })[
    Symbol.for('mcp-poolkit.timerLedger')
  ];
  const live = liveTimers().size;
  for (let i = 0; i < 900; i++) clearTimeout(setTimeout(() => undefined, 60_000));
  expect(ledger?.size).toBeLessThanOrEqual(Math.max(64, 2 * live + 2));
});

test('a timer of node:timers fails it', async () => {
  const timer = importedSetTimeout(() => undefined, 60_000);
  await leaks(/timer armed at/);
  clearTimeout(timer);
});

test.each([
  ['node:timers/promises', () => promisedTimeout],
  ['a promisified setTimeout', () => promisify(setTimeout)],
])('a timer of %s fails it', async (_name, sleep) => {
  const controller = new AbortController();
  const sleeping = sleep()(60_000, undefined, { signal: controller.signal });
  await leaks(/timer armed at/);
  controller.abort();
  await expect(sleeping).rejects.toThrow('aborted');
});

test('a leaked timer fails it also when it would be gone in a moment', async () => {
  let fired = false;
  setTimeout(() => {
    fired = true;
  }, 300);
  await leaks(/timer armed at/, { ...baseline, options: { settleMs: 1_000 } });
  await vi.waitUntil(() => fired);
});

test('a timer that fired, was cleared, was there before, or is not the test’s business passes', async () => {
  const before = setTimeout(() => undefined, 60_000);
  const ignoring = leakBaseline({ ignoreTimer: (stack) => stack.includes('closeAndCheck.test.ts') });
  const ignored = setTimeout(() => undefined, 60_000);
  await promisedTimeout(1);
  await closeAndCheck(ignoring);
  clearTimeout(before);
  clearTimeout(ignored);
});

test('a leaked server socket fails it', async () => {
  const server = await listen();
  await leaks(/file descriptor \d+ -> socket:/);
  server.close();
  await once(server, 'close');
});

test('a leaked file descriptor fails it, by its path', async () => {
  const fd = openSync(import.meta.filename, 'r');
  await leaks(new RegExp(`file descriptor ${fd} -> .*closeAndCheck\\.test\\.ts`));
  closeSync(fd);
});

test('a descriptor that was closed and taken by something else fails it', async () => {
  const fd = openSync('/dev/null', 'r');
  const before = leakBaseline({ settleMs: 30 });
  closeSync(fd);
  const taken = openSync(import.meta.filename, 'r');
  expect(taken).toBe(fd);
  await leaks(/file descriptor/, before);
  closeSync(taken);
});

test('a listener left on process fails it, by its event', async () => {
  const listener = (): void => undefined;
  process.on('SIGUSR2', listener);
  await leaks(/1 listener\(s\) for 'SIGUSR2' on process/);
  process.off('SIGUSR2', listener);
});

test('a listener left on a signal or an emitter that was lent fails it', async () => {
  const controller = new AbortController();
  const emitter = new EventEmitter().on('data', () => undefined);
  const lent = leakBaseline({ lent: [controller.signal, emitter], settleMs: 30 });
  await closeAndCheck(lent);
  const listener = (): void => undefined;
  controller.signal.addEventListener('abort', listener);
  await leaks(/1 listener\(s\) for 'abort' on AbortSignal/, lent);
  controller.signal.removeEventListener('abort', listener);
  emitter.on('data', listener).on('end', listener);
  await leaks(/1 listener\(s\) for 'data' on EventEmitter\n- 1 listener\(s\) for 'end' on EventEmitter/, lent);
});

test('a timer armed on a fake clock fails it', async () => {
  const clock = new FakeClock();
  const withClock = leakBaseline({ clocks: [clock], settleMs: 30 });
  await closeAndCheck(withClock);
  const timer = clock.setTimer(() => undefined, 10);
  await leaks(/1 timer\(s\) armed on a fake clock/, withClock);
  timer.cancel();
});

test('what is on its way out gets the time to go', async () => {
  const patient = leakBaseline({ settleMs: 5_000 });
  const child = spawn('sleep', ['600']);
  const server = await listen();
  child.kill('SIGKILL');
  server.close();
  await closeAndCheck(patient);
});

test('it closes the parts, all of them, and what they fail with comes along with what leaked', async () => {
  const closed: string[] = [];
  const part = (name: string, then: () => Promise<void>) => ({
    close: () => {
      closed.push(name);
      return then();
    },
  });
  const thrown = new Error('thrown');
  const rejected = new Error('rejected');
  const throwing = part('throwing', () => {
    throw thrown;
  });
  const rejecting = part('rejecting', () => Promise.reject(rejected));
  const fine = part('fine', () => Promise.resolve());
  await expect(closeAndCheck(baseline, throwing)).rejects.toBe(thrown);
  const timer = setTimeout(() => undefined, 60_000);
  const failure: unknown = await closeAndCheck(baseline, throwing, rejecting, fine).catch((error: unknown) => error);
  clearTimeout(timer);
  expect(closed).toEqual(['throwing', 'throwing', 'rejecting', 'fine']);
  expect((failure as AggregateError).errors).toEqual([thrown, rejected, expect.any(Error)]);
  expect((failure as Error).message).toMatch(/thrown\n.*rejected\n.*leaked:/);
});

test('it ends under a test runner’s fake timers too', async () => {
  const fd = openSync('/dev/null', 'r');
  vi.useFakeTimers();
  try {
    await leaks(/file descriptor/);
  } finally {
    vi.useRealTimers();
    closeSync(fd);
  }
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('settleMs is not %s', (settleMs) => {
  expect(() => leakBaseline({ settleMs })).toThrow(OptionError);
});
