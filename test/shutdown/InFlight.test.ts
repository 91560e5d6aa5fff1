import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClosedError } from '../../src/errors.js';
import { InFlight } from '../../src/shutdown/index.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS } from '../support/runs.js';

test('begin counts until end, once, and names what runs', async () => {
  const calls = new InFlight();
  const one = calls.begin('one');
  const two = calls.begin('two');
  expect([calls.size, calls.names]).toEqual([2, ['one', 'two']]);
  let idle = false;
  const waiting = calls.idle().then(() => {
    idle = true;
  });
  one.end();
  one.end();
  await Promise.resolve();
  expect([calls.size, idle]).toEqual([1, false]);
  two[Symbol.dispose]();
  await waiting;
  expect([calls.size, idle]).toEqual([0, true]);
  await calls.idle();
});

test('track counts a promise, gives its result or error, and refuses once refusing', async () => {
  const calls = new InFlight({ name: 'calls' });
  expect(await calls.track(Promise.resolve(7))).toBe(7);
  await expect(calls.track(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(calls.size).toBe(0);
  calls.refuse();
  let ran = false;
  const refused = calls.track(async () => {
    ran = true;
  });
  await expect(refused).rejects.toBeInstanceOf(ClosedError);
  expect(() => calls.begin()).toThrow('calls is closed');
  expect(ran).toBe(false);
});

test('close refuses at once, waits for what runs, and gives everyone the same promise', async () => {
  const clock = new FakeClock();
  const calls = new InFlight({ clock });
  const call = calls.begin('slow');
  const closing = calls.close({ graceMs: 1_000 });
  expect(calls.close()).toBe(closing);
  expect(() => calls.begin()).toThrow(ClosedError);
  await clock.advance(500);
  call.end();
  await closing;
  expect(clock.armedTimers).toBe(0);
});

test('close names what is left at the deadline', async () => {
  const clock = new FakeClock();
  const calls = new InFlight({ clock, name: 'calls' });
  for (let i = 1; i <= 7; i++) calls.begin(`call ${i}`);
  const check = expect(calls.close({ graceMs: 1_000 })).rejects.toMatchObject({
    errors: [{ code: 'ERR_SHUTDOWN_TIMEOUT', what: '7 of calls (call 1, call 2, call 3, call 4, call 5, and 2 more)' }],
  });
  await clock.advance(1_000);
  await check;
});

/** As much of a request and a response as a listener touches. */
function pair(path: string): { request: IncomingMessage; response: ServerResponse & { sent: unknown[] } } {
  const response = Object.assign(new EventEmitter(), {
    sent: [] as unknown[],
    writeHead: (...args: unknown[]) => response.sent.push(...args),
    end: (body: unknown) => response.sent.push(body),
  });
  const request = { method: 'GET', url: path };
  return { request: request as IncomingMessage, response: response as unknown as ReturnType<typeof pair>['response'] };
}

test('a listener is counted until its response is closed and its promise has settled, by path without query', async () => {
  const calls = new InFlight();
  let finish: () => void = () => undefined;
  const listener = calls.listener(
    () =>
      new Promise<void>((resolve) => {
        finish = resolve;
      }),
  );
  const { request, response } = pair('/slow?token=secret');
  listener(request, response);
  expect(calls.names).toEqual(['GET /slow']);
  response.emit('close');
  await new Promise((resolve) => setImmediate(resolve));
  expect(calls.size).toBe(1);
  finish();
  await calls.idle();

  const failing = calls.listener(() => {
    throw new Error('thrown at once');
  });
  const second = pair('/');
  failing(second.request, second.response);
  await expect.poll(() => second.response.sent).toEqual([500, expect.any(Object), '{"error":"internal error"}']);
  expect(calls.size).toBe(1);
  second.response.emit('close');
  await calls.idle();

  calls.refuse();
  const third = pair('/');
  listener(third.request, third.response);
  expect(third.response.sent).toEqual([503, expect.objectContaining({ Connection: 'close' }), expect.any(String)]);
  expect(calls.size).toBe(0);
});

test('any order of begin, end, refuse and idle keeps the count right', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom('begin', 'end', 'endTwice', 'idle', 'refuse'), { maxLength: 60 }),
      async (commands) => {
        const calls = new InFlight();
        const open: { end(): void }[] = [];
        const waits: { done: boolean }[] = [];
        let refusing = false;
        for (const command of commands) {
          if (command === 'begin' && refusing) expect(() => calls.begin()).toThrow(ClosedError);
          else if (command === 'begin') open.push(calls.begin());
          else if (command === 'end') open.shift()?.end();
          else if (command === 'endTwice') {
            const entry = open.pop();
            entry?.end();
            entry?.end();
          } else if (command === 'refuse') {
            calls.refuse();
            refusing = true;
          } else {
            const wait = { done: false };
            waits.push(wait);
            void calls.idle().then(() => {
              wait.done = true;
            });
          }
          expect(calls.size).toBe(open.length);
          await Promise.resolve();
          if (open.length === 0) expect(waits.splice(0).every((wait) => wait.done)).toBe(true);
          else expect(waits.some((wait) => wait.done)).toBe(false);
        }
        for (const entry of open) entry.end();
        await calls.close({ graceMs: 0 });
      },
    ),
    { numRuns: RUNS },
  ));
