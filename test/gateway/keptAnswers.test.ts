import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { Frame } from '../../src/gateway/http/stream/Frame.js';
import type { Resumable } from '../../src/gateway/http/stream/Resumable.js';
import { ResumableStreams } from '../../src/gateway/http/stream/ResumableStreams.js';
import { progressText } from '../../src/gateway/rpc/notices.js';

/** Answers of clients that have left, which are kept until they come back. */
function kept(
  held: HeldBytes,
  owner: string,
): { readonly streams: ResumableStreams; readonly answer: (bytes: number) => string } {
  const bounds = { held, stallTimeoutMs: 1_000, maxStreamBufferBytes: 1_000, replica: 'r', logger: silentLogger };
  const streams = new ResumableStreams(bounds, owner, true);
  const answer = (bytes: number): string => {
    const stream = streams.call();
    stream.send(JSON.stringify('x'.repeat(bytes)));
    stream.end();
    return `${stream.id}_0`;
  };
  return { streams, answer };
}

const canResume = (streams: ResumableStreams, id: string): boolean | Promise<boolean> =>
  streams.resume(id, { destroyed: true } as never, {}, () => {
    throw new Error('not asked for');
  });

test('room is made, or refused, without a look at all that is kept', () => {
  const held = new HeldBytes(10_000);
  let looks = 0;
  const keep = (): void => {
    held.takeFor('a', 1);
    held.spare('a', 1);
    const place = held.keep({
      giveWay: () => {
        looks++;
        held.forget(place);
        held.dropSpare(1);
      },
    });
  };
  for (let i = 0; i < 10_000; i++) keep();
  looks = 0;
  for (let i = 0; i < 1_000; i++) expect(held.takeFor('b', 10_001)).toBe(false);
  expect(looks).toBe(0);
  for (let i = 0; i < 1_000; i++) expect(held.takeFor('b', 1)).toBe(true);
  expect([looks, held.kept, held.held]).toEqual([1_000, 9_000, 10_000]);
});

test('what is kept for clients that may come back gives way to those that are there, the oldest first, and to nothing else', () => {
  const held = new HeldBytes(1_000_000);
  const [one, two] = [kept(held, 'one'), kept(held, 'two')];
  const first = one.answer(400_000);
  const second = two.answer(400_000);
  expect(held.held).toBeGreaterThan(800_000);
  // To be kept, too: what was kept before stays.
  const third = two.answer(400_000);
  expect([canResume(one.streams, first), canResume(two.streams, second)]).toEqual([true, true]);
  expect(held.held).toBeLessThan(810_000);
  // What cannot be had makes nothing give way.
  expect(held.takeFor('three', 1_000_001)).toBe(false);
  expect(canResume(one.streams, first)).toBe(true);
  expect(held.takeFor('three', 500_000)).toBe(true);
  expect([canResume(one.streams, first), canResume(two.streams, second)]).toEqual([false, true]);
  expect(held.takeFor('four', 300_000)).toBe(true);
  expect(canResume(two.streams, second)).toBe(false);
  held.giveBackFor('three', 500_000);
  held.giveBackFor('four', 300_000);
  for (const each of [one, two]) each.streams.close();
  expect([held.held, held.kept]).toEqual([0, 0]);
  expect(canResume(two.streams, third)).toBe(false);
});

test('what a stream keeps for a client that has left gives way while more comes, too, and the stream goes on', () => {
  const held = new HeldBytes(1_000_000);
  const each = ['one', 'two', 'three', 'four'].map((owner) => kept(held, owner).streams);
  const own = each.map((streams) => streams.own());
  for (const stream of own) stream.offer(JSON.stringify('x'.repeat(200_000)));
  expect(held.held).toBeGreaterThan(800_000);
  // For a client that has left nothing of others’ gives way.
  own[0]?.offer(JSON.stringify('x'.repeat(200_000)));
  expect(held.held).toBeLessThan(805_000);
  expect(held.takeFor('five', 390_000)).toBe(true);
  expect(held.held).toBeGreaterThan(790_000);
  expect(held.takeFor('six', 500_000)).toBe(true);
  expect(held.held).toBe(890_000);
  own[3]?.offer('{"a":1}');
  expect(held.held).toBeGreaterThan(890_000);
  expect([held.kept, held.takeFor('seven', 110_000), held.kept]).toEqual([1, true, 0]);
  for (const streams of each) streams.close();
  expect([held.held, held.kept]).toEqual([1_000_000, 0]);
});

test('small events that are kept count as what they take', () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const used = (): number => {
    gc();
    return process.memoryUsage().heapUsed;
  };
  const fill = (held: HeldBytes, offer: (stream: Resumable, event: number) => void): ResumableStreams[] =>
    Array.from({ length: 50 }, (_, at) => {
      const { streams } = kept(held, `owner ${at}`);
      const stream = streams.call();
      for (let event = 0; event < 500; event++) offer(stream, event);
      return streams;
    });
  const shared = Array.from({ length: 500 }, (_, event) => new Frame(`{"event":${event}}`));
  for (const offer of [
    (stream: Resumable, event: number) =>
      stream.offer(progressText('1', { progressToken: 1, progress: event, total: 500 })),
    (stream: Resumable, event: number) => stream.offer(`{"event":${event}}`),
    (stream: Resumable, event: number) => stream.offer(shared[event] as Frame),
  ]) {
    for (const streams of fill(new HeldBytes(1e9), offer)) streams.close();
    const held = new HeldBytes(1e9);
    const before = used();
    const all = fill(held, offer);
    expect(used() - before).toBeLessThan(1.25 * held.held);
    for (const streams of all) streams.close();
    expect([held.held, held.kept]).toEqual([0, 0]);
  }
});
