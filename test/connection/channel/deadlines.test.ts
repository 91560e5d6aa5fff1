import { expect, test } from 'vitest';
import type { Call } from '../../../src/connection/channel/Call.js';
import { Channel } from '../../../src/connection/channel/Channel.js';
import type { CallOptions } from '../../../src/connection/protocol/messages.js';
import { silentLogger } from '../../../src/core/logger.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { failure } from '../../support/rawCalls.js';

/** One call over a stream of all calls, on a clock of its own: what it failed with, and when. */
function asking(options: CallOptions = {}) {
  const clock = new FakeClock();
  const calls: Call[] = [];
  let answer = (_answer: unknown): void => undefined;
  const channel: Channel = new Channel(
    { send: (call) => void calls.push(call), post: () => undefined },
    {
      server: 's',
      clock,
      logger: silentLogger,
      maxMessageBytes: 10_000,
      timeoutMs: 60_000,
      acquireTimeoutMs: 30_000,
      maxTotalTimeoutMs: 600_000,
      unfinished: () => undefined,
      onRequest: () => new Promise((resolve) => (answer = resolve)),
    },
  );
  const asked = channel.request('tools/call', {}, options);
  const [call] = calls as [Call];
  channel.markSent(call, clock.now());
  return {
    clock,
    channel,
    call,
    failed: failure(asked).then((error) => ({ error, atMs: clock.now() })),
    blame: () => channel.receive({ jsonrpc: '2.0', id: null, error: { code: -32602, message: 'no such column' } }),
    ask: () => channel.receive({ jsonrpc: '2.0', id: 'q', method: 'elicitation/create', params: {} }),
    answer: () => answer({}),
  };
}

/** On a wheel that ticks each 10 ms. */
const at = (ms: number) => ({ asymmetricMatch: (actual: number) => actual >= ms && actual <= ms + 20 });

const step = async (clock: FakeClock, ms: number): Promise<void> => {
  for (let passed = 0; passed < ms; passed += 10) await clock.advance(10);
};

test('a call in doubt ends by that after 5 s, and by its own time where that is over before, with what was said', async () => {
  const early = asking();
  early.blame();
  await step(early.clock, 6_000);
  expect(await early.failed).toMatchObject({
    error: { code: 'ERR_OUTCOME_UNKNOWN', message: expect.stringContaining('no such column') },
    atMs: at(5_000),
  });
  const late = asking();
  await step(late.clock, 58_000);
  late.blame();
  await step(late.clock, 6_000);
  expect(await late.failed).toMatchObject({
    error: { code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 60_000, message: expect.stringContaining('no such column') },
    atMs: at(60_000),
  });
});

test('a call that is believed again has the time that it had', async () => {
  const { clock, channel, call, blame, failed } = asking({ onProgress: () => undefined });
  await step(clock, 50_000);
  blame();
  channel.receive({
    jsonrpc: '2.0',
    method: 'notifications/progress',
    params: { progressToken: call.id, progress: 1 },
  });
  await step(clock, 16_000);
  const { error, atMs } = await failed;
  expect(error).toMatchObject({ code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 60_000 });
  expect((error as Error).message).not.toContain('no such column');
  expect(atMs).toEqual(at(60_000));
});

test('a call that was refused unread, and goes out again, has what is left of its time', async () => {
  const { clock, channel, call, failed } = asking();
  await step(clock, 10_000);
  channel.requeue(call);
  await step(clock, 10_000);
  channel.markSent(call, clock.now());
  await step(clock, 45_000);
  expect(await failed).toMatchObject({ error: { code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 60_000 }, atMs: at(60_000) });
});

test('the time of a call that stands still while its client is asked goes on where it stood', async () => {
  const { clock, ask, answer, failed } = asking({ pauseWhileAsked: true });
  await step(clock, 50_000);
  ask();
  await step(clock, 100_000);
  answer();
  await step(clock, 11_000);
  expect(await failed).toMatchObject({ error: { code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 60_000 }, atMs: at(160_000) });
});

test('a call that comes into doubt while its time stands still has 5 s from when that goes on', async () => {
  const { clock, ask, answer, blame, failed } = asking({ pauseWhileAsked: true });
  await step(clock, 1_000);
  ask();
  await step(clock, 20_000);
  blame();
  await step(clock, 20_000);
  answer();
  await step(clock, 6_000);
  expect(await failed).toMatchObject({ error: { code: 'ERR_OUTCOME_UNKNOWN' }, atMs: at(46_000) });
});

test('a call that waits to go out again keeps to its total time, and has what it stood still for', async () => {
  const short = asking({ maxTotalTimeoutMs: 10_000 });
  await step(short.clock, 8_000);
  short.channel.requeue(short.call);
  await step(short.clock, 3_000);
  expect(await short.failed).toMatchObject({
    error: { code: 'ERR_ACQUIRE_TIMEOUT', timeoutMs: 10_000 },
    atMs: at(10_000),
  });
  const { clock, channel, call, ask, answer, failed } = asking({ pauseWhileAsked: true });
  ask();
  await step(clock, 50_000);
  channel.requeue(call);
  answer();
  await clock.advance(0);
  channel.markSent(call, clock.now());
  await step(clock, 61_000);
  expect(await failed).toMatchObject({ error: { code: 'ERR_REQUEST_TIMEOUT', timeoutMs: 60_000 }, atMs: at(110_000) });
});
