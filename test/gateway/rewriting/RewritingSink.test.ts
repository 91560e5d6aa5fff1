import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { ResultSink } from '../../../src/connection/channel/large/ResultSink.js';
import { RewritingSink } from '../../../src/gateway/rpc/rewriting/RewritingSink.js';
import { StringRewriter } from '../../../src/gateway/rpc/rewriting/StringRewriter.js';

const KEYS: ReadonlySet<string> = new Set(['uri']);
const rewriter = (): StringRewriter => new StringRewriter(KEYS, (_, uri) => (uri === 'a' ? 'b' : undefined));

class Kept implements ResultSink {
  readonly writes: string[] = [];

  write(piece: Buffer): boolean {
    this.writes.push(piece.toString());
    return true;
  }
}

test('a piece goes on in one write, however many strings in it may be changed', () => {
  const kept = new Kept();
  const sink = new RewritingSink(kept, rewriter());
  expect(sink.write(Buffer.from(`[${'{"uri":"a"},{"uri":"x"},'.repeat(1_000)}{"uri":"`))).toBe(true);
  sink.write(Buffer.from('a"}]'));
  expect(kept.writes).toEqual([`[${'{"uri":"b"},{"uri":"x"},'.repeat(1_000)}{"uri":`, '"b"}]']);
});

test('what waited until strings could be changed goes on piece by piece, in turns of the event loop', async () => {
  const kept = new Kept();
  let prepared = (): void => undefined;
  let rooms = 0;
  const sink = new RewritingSink(kept, rewriter(), new Promise<void>((resolve) => (prepared = resolve)), () => rooms++);
  const pieces = Array.from({ length: 20 }, (_, i) => `${i === 0 ? '[' : ','}{"uri":"a","n":${i}}`);
  for (const piece of pieces) expect(sink.write(Buffer.from(piece))).toBe(false);
  expect(kept.writes).toEqual([]);
  prepared();
  await setImmediate();
  const soon = kept.writes.length;
  expect(soon).toBeGreaterThan(0);
  expect(soon).toBeLessThan(pieces.length / 2);
  // What comes meanwhile comes behind.
  expect(sink.write(Buffer.from(']'))).toBe(false);
  await sink.passedOn();
  expect(kept.writes).toEqual([...pieces.map((piece) => piece.replace('"a"', '"b"')), ']']);
  expect(rooms).toBe(1);
  expect(sink.write(Buffer.from(' '))).toBe(true);
});

test('how deep values are nested takes next to no memory, and strings that stand very deep stay as they are', () => {
  const depth = 8_000_000;
  const deep = rewriter();
  const before = process.memoryUsage().heapUsed;
  deep.push(Buffer.alloc(depth, '['));
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(16_000_000);
  const end = Buffer.from(`{"uri":"a"}${']'.repeat(depth)}`);
  expect(Buffer.concat(deep.push(end)).equals(end)).toBe(true);
  // Back at the top all is as before.
  const levels = rewriter();
  const nested = `${'{"x":['.repeat(300)}{"uri":"a"}${']}'.repeat(300)}`;
  const around = (uri: string): string => `[{"uri":"${uri}"},${nested},{"z":{},"uri":"${uri}"}]`;
  expect(Buffer.concat(levels.push(Buffer.from(around('a')))).toString()).toBe(around('b'));
});
