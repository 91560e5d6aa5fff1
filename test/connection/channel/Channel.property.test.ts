import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Call } from '../../../src/connection/channel/Call.js';
import { Channel } from '../../../src/connection/channel/Channel.js';
import { ClosedError } from '../../../src/core/errors.js';
import { silentLogger } from '../../../src/core/logger.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

const TIMEOUT_MS = 1_000;
const ACQUIRE_MS = 400;
const TOTAL_MS = 2_500;

/** One call as the model knows it: where it stands, and what it must come to. */
interface Model {
  readonly id: number;
  readonly raw: boolean;
  readonly control: AbortController;
  readonly reason: Error;
  readonly settled: string[];
  phase: 'queued' | 'sent' | 'settled';
  sentMs: number;
  /** Clock ms of its timeout, before the wheel's own grain. */
  dueMs: number;
  expected: string | undefined;
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('request' as const), raw: fc.boolean(), sent: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'send',
        'answer',
        'error',
        'nonsense',
        'oversized',
        'abort',
        'progress',
        'bytes',
        'batch',
        'again',
      ),
      which: fc.nat({ max: 11 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 700 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('crash', 'close', 'garbage', 'stranger') }) },
);

test(
  'whatever comes in whatever order, each call settles exactly once, with the class that tells the truth',
  () =>
    fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const clock = new FakeClock();
        const wire = new Map<number, Call>();
        const posted: string[] = [];
        let reopenings = 0;
        const channel = new Channel(
          { send: (call) => void wire.set(call.id, call), post: (text) => void posted.push(text) },
          {
            server: 's',
            clock,
            logger: silentLogger,
            maxMessageBytes: 10_000,
            timeoutMs: TIMEOUT_MS,
            acquireTimeoutMs: ACQUIRE_MS,
            maxTotalTimeoutMs: TOTAL_MS,
          },
        );
        const calls: Model[] = [];
        let dead: 'crash' | 'close' | undefined;
        let late = 0;
        const model = (which: number): Model | undefined => calls[which % Math.max(1, calls.length)];
        const settle = (call: Model, expected: string): void => {
          if (call.phase === 'settled') return;
          call.phase = 'settled';
          call.expected = expected;
        };
        const send = (call: Model): void => {
          const own = wire.get(call.id);
          if (call.phase !== 'queued' || own === undefined || dead !== undefined) return;
          channel.markSent(own, clock.now());
          call.phase = 'sent';
          call.sentMs = clock.now();
          call.dueMs = clock.now() + TIMEOUT_MS;
        };
        const reply = (call: Model, message: object, expected: string): void => {
          const was = call.phase;
          channel.receive({ jsonrpc: '2.0', id: call.id, ...message });
          if (was === 'sent') settle(call, expected);
          else if (was === 'settled') late++;
        };
        for (const each of steps) {
          if (each.do === 'request') {
            const { raw, sent } = each as { raw: boolean; sent: boolean };
            const control = new AbortController();
            const call: Model = {
              id: calls.length + 1,
              raw,
              control,
              reason: new Error(`abort ${calls.length}`),
              settled: [],
              phase: 'queued',
              sentMs: 0,
              dueMs: clock.now() + ACQUIRE_MS,
              expected: undefined,
            };
            calls.push(call);
            if (dead !== undefined) settle(call, dead === 'close' ? 'ERR_CLOSED' : 'ERR_NOT_SENT');
            channel
              .request('tools/call', { n: call.id }, { raw, signal: control.signal, resetTimeoutOnProgress: true })
              .then(
                (value) => call.settled.push(raw ? Buffer.from(value as Uint8Array).toString() : JSON.stringify(value)),
                (error: unknown) => call.settled.push((error as { code?: string }).code ?? String(error)),
              );
            const own = wire.get(call.id);
            if (own !== undefined && sent) send(call);
            else if (own !== undefined) channel.markWaiting(own);
          } else if ('which' in each) {
            const call = model(each.which as number);
            if (call === undefined) continue;
            switch (each.do) {
              case 'send':
                send(call);
                break;
              case 'answer':
                reply(call, { result: { n: call.id } }, `{"n":${call.id}}`);
                break;
              case 'batch':
                if (call.phase === 'sent') {
                  channel.receive([{ jsonrpc: '2.0', id: call.id, result: { n: call.id } }]);
                  settle(call, `{"n":${call.id}}`);
                }
                break;
              case 'bytes': {
                const was = call.phase;
                const line = Buffer.from(`{"id":${call.id},"result":{"n": ${call.id}}}`);
                const taken = channel.receiveBytes(line);
                expect(taken).toBe(was === 'sent' && call.raw);
                if (taken) settle(call, `{"n": ${call.id}}`);
                break;
              }
              case 'again': {
                const own = wire.get(call.id);
                if (call.phase === 'settled' && own !== undefined) channel.failCall(own, new Error('too late'));
                break;
              }
              case 'error':
                reply(call, { error: { code: -1, message: 'no' } }, 'ERR_RPC');
                break;
              case 'nonsense':
                reply(call, { error: { code: 'x' } }, 'ERR_PROTOCOL');
                break;
              case 'oversized': {
                const was = call.phase;
                const head = Buffer.from(`{"id":${call.id},"result":"`);
                channel.unread.oversized({ head, tail: Buffer.alloc(0), bytes: 20_000 });
                if (was === 'sent') settle(call, 'ERR_MESSAGE_TOO_LARGE');
                else if (was === 'settled') late++;
                break;
              }
              case 'abort':
                if (!call.control.signal.aborted) {
                  settle(call, String(call.reason));
                  call.control.abort(call.reason);
                }
                break;
              case 'progress':
                channel.receive({ method: 'notifications/progress', params: { progressToken: call.id, progress: 1 } });
                if (call.phase === 'sent') {
                  call.dueMs = Math.min(clock.now() + TIMEOUT_MS, call.sentMs + TOTAL_MS);
                }
                break;
            }
          } else if (each.do === 'advance') {
            // One at a time, so that the model knows what was due when.
            for (let left = (each as { ms: number }).ms; left > 0; left -= 10) clock.advanceSync(Math.min(10, left));
            const nowMs = clock.now();
            await Promise.resolve();
            for (const call of calls) {
              if (call.phase === 'settled') continue;
              const code = call.phase === 'queued' ? 'ERR_ACQUIRE_TIMEOUT' : 'ERR_REQUEST_TIMEOUT';
              // The wheel's grain: never early, 22 ms late at the most.
              if (nowMs >= call.dueMs + 22) settle(call, code);
              else if (nowMs >= call.dueMs && channel.pending(call.id) === undefined) settle(call, code);
            }
          } else if (each.do === 'garbage') {
            const before = channel.counters.garbage;
            for (const junk of [null, 42, 'x', {}, { id: 1 }, { id: {}, method: 'x' }]) channel.receive(junk);
            expect(channel.counters.garbage).toBe(before + 6);
          } else if (each.do === 'stranger') {
            const before = channel.counters.garbage;
            for (const id of [0, -1, 1.5, 10_000, '01', null]) channel.receive({ id, result: {} });
            expect(channel.counters.garbage).toBe(before + 6);
          } else if (dead === undefined) {
            dead = each.do as 'crash' | 'close';
            reopenings++;
            channel.fail(dead, dead === 'close' ? new ClosedError('s') : undefined);
            channel.fail('again, which changes nothing');
            for (const call of calls) {
              settle(
                call,
                call.phase === 'sent' ? 'ERR_OUTCOME_UNKNOWN' : dead === 'close' ? 'ERR_CLOSED' : 'ERR_NOT_SENT',
              );
            }
          }
          expect(channel.inFlight).toBe(calls.filter(({ phase }) => phase !== 'settled').length);
          expect(channel.wantsRaw).toBe(calls.some(({ phase, raw }) => raw && phase !== 'settled'));
        }
        if (reopenings === 0) channel.fail('the end');
        await clock.advance(TOTAL_MS);
        for (const call of calls) {
          const end = call.expected ?? (call.phase === 'sent' ? 'ERR_OUTCOME_UNKNOWN' : 'ERR_NOT_SENT');
          expect(call.settled).toEqual([end]);
          expect(getEventListeners(call.control.signal, 'abort')).toEqual([]);
        }
        expect(channel.counters.lateReplies).toBe(late);
        expect(channel.inFlight).toBe(0);
        expect(clock.armedTimers).toBe(0);
        // Cancelled upstream: those that were sent and given up, and no others.
        const given = calls.filter(({ expected, sentMs, dueMs }) => {
          return expected === 'ERR_REQUEST_TIMEOUT' || (expected?.startsWith('Error: abort') && sentMs + dueMs > 0);
        });
        expect(posted.length).toBeLessThanOrEqual(given.length);
        for (const text of posted) expect(text).toContain('notifications/cancelled');
      }),
      { numRuns: RUNS },
    ),
  RUNS_TIMEOUT_MS,
);

test('initialize is never cancelled upstream', async () => {
  const clock = new FakeClock();
  const posted: string[] = [];
  const channel: Channel = new Channel(
    { send: (call) => channel.markSent(call, clock.now()), post: (text) => void posted.push(text) },
    {
      server: 's',
      clock,
      logger: silentLogger,
      maxMessageBytes: 10_000,
      timeoutMs: 100,
      acquireTimeoutMs: 100,
      maxTotalTimeoutMs: 100,
    },
  );
  const started = channel.request('initialize', {}, {}).catch((error: unknown) => error);
  await clock.advance(200);
  expect(await started).toMatchObject({ code: 'ERR_REQUEST_TIMEOUT' });
  expect(posted).toEqual([]);
  channel.fail('the end');
});
