import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { Channel } from '../../../src/connection/channel/Channel.js';
import { StdioWriter } from '../../../src/connection/stdio/StdioWriter.js';
import { silentLogger } from '../../../src/core/logger.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { outcome } from '../../support/memoryPool.js';

/** A channel on a pipe that takes a write only when told. */
function piped(maxUnsentBytes = 1_000_000, onNoticesFull?: (why: string) => void) {
  const writes: string[] = [];
  const taken: (() => void)[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _, done) => {
      writes.push(chunk.toString());
      taken.push(done);
    },
  });
  const clock = new FakeClock();
  const channel: Channel = new Channel(
    { send: (call, text) => writer.send(call, text), post: (text) => void writer.post(text) },
    {
      server: 's',
      clock,
      logger: silentLogger,
      maxMessageBytes: 1_000_000,
      timeoutMs: 1_000,
      acquireTimeoutMs: 500,
      maxTotalTimeoutMs: 10_000,
    },
  );
  const writer: StdioWriter = new StdioWriter(stream, {
    server: 's',
    clock,
    channel,
    maxUnsentBytes,
    ...(onNoticesFull && { onNoticesFull }),
  });
  const call = (n: string, options = {}): Promise<unknown> => outcome(channel.request(n, undefined, options));
  const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const methods = (): string[][] =>
    writes.map((text) =>
      text
        .trim()
        .split('\n')
        .map((each) => (JSON.parse(each) as { method: string }).method),
    );
  return { channel, writer, stream, clock, writes, taken, call, tick, methods };
}

test('what is asked in one turn goes out as one write; meanwhile one write is outstanding at the most', async () => {
  const { channel, taken, call, tick, methods, writer } = piped();
  const calls = [call('a'), call('b'), call('c')];
  await tick();
  calls.push(call('d'));
  await tick();
  calls.push(call('e'));
  await tick();
  expect(methods()).toEqual([['a', 'b', 'c']]);
  expect(writer.unsentBytes).toBeGreaterThan(0);
  taken[0]?.();
  await tick();
  expect(methods()).toEqual([
    ['a', 'b', 'c'],
    ['d', 'e'],
  ]);
  taken[1]?.();
  await tick();
  expect(writer.unsentBytes).toBe(0);
  channel.fail('the end');
  await Promise.all(calls);
});

test('a call given up while it waits is never sent, and cancellations go ahead of what waits', async () => {
  const { channel, taken, call, tick, methods } = piped();
  const sent = new AbortController();
  const waiting = new AbortController();
  const first = call('a', { signal: sent.signal });
  await tick();
  const second = call('b', { signal: waiting.signal });
  const third = call('c');
  waiting.abort(new Error('no'));
  sent.abort(new Error('no'));
  await Promise.all([first, second]);
  taken[0]?.();
  await tick();
  expect(methods()).toEqual([['a'], ['notifications/cancelled', 'c']]);
  expect(channel.counters.calls).toBe(2);
  channel.fail('the end');
  await third;
});

test('a batch is bounded: what finds no place in it waits its time, and goes out in its order', async () => {
  const { channel, clock, taken, call, tick, methods } = piped(10_000_000);
  const big = 'x'.repeat(200_000);
  const large = [1, 2, 3].map(() => outcome(channel.request('big', { big }, { acquireTimeoutMs: 60_000 })));
  const small = call('small');
  await tick();
  expect(methods()).toEqual([['big', 'big']]);
  await clock.advance(530);
  expect(await small).toBe('ERR_ACQUIRE_TIMEOUT');
  taken[0]?.();
  await tick();
  expect(methods()[1]).toEqual(['big']);
  channel.fail('the end');
  await Promise.all(large);
});

test('large notices that a child does not take are refused one by one; a flood of small ones alone is told as full', async () => {
  let full = 0;
  const { writer, taken, tick } = piped(400_000, () => full++);
  expect(writer.post('first')).toBe(true);
  await tick();
  const large = 'x'.repeat(150_000);
  expect([writer.post(large), writer.post(large), writer.post('small')]).toEqual([true, false, true]);
  expect([full, writer.droppedNotices]).toEqual([0, 1]);
  while (full === 0) writer.post('y'.repeat(1_000));
  expect(writer.unsentBytes).toBeGreaterThan(300_000);
  taken[0]?.();
  await tick();
  taken[1]?.();
  await tick();
  expect([writer.unsentBytes, writer.post(large)]).toEqual([0, true]);
  writer.close();
});

test('of a child that does not read, calls that were given up hold nothing, however short they are', async () => {
  const { channel, writer, tick } = piped();
  void outcome(channel.request('first', undefined, {}));
  await tick();
  for (let i = 0; i < 2_000; i++) {
    const abort = new AbortController();
    const given = outcome(channel.request('short', undefined, { signal: abort.signal }));
    abort.abort();
    await given;
  }
  expect(writer.unsentBytes).toBeLessThan(300 * 80);
});

test.each([
  ['at once: not one byte of it was taken', false, 10, 'ERR_NOT_SENT'],
  ['at once, and is large: a part of it may have been', false, 5_000, 'ERR_OUTCOME_UNKNOWN'],
  ['later: so it may', true, 10, 'ERR_OUTCOME_UNKNOWN'],
])('a write that fails %s', async (_, later, bytes, code) => {
  const fails = (done: (error: Error) => void): void => done(new Error('write EPIPE'));
  const { channel, stream, call, tick } = piped();
  stream._write = (_chunk, _encoding, done) => void (later ? setImmediate(fails, done) : fails(done));
  stream.on('error', ({ message }) => channel.fail(message));
  const calls = [call('a'), call('b'.repeat(bytes))];
  await tick();
  expect(await Promise.all(calls)).toEqual([code, code]);
  expect(channel.counters.calls).toBe(code === 'ERR_NOT_SENT' ? 0 : 2);
});
