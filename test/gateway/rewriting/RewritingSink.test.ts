import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { ResultSink } from '../../../src/connection/channel/large/ResultSink.js';
import { MemberRewriter } from '../../../src/gateway/rpc/rewriting/MemberRewriter.js';
import { RewritingSink } from '../../../src/gateway/rpc/rewriting/RewritingSink.js';
import { StringRewriter } from '../../../src/gateway/rpc/rewriting/StringRewriter.js';
import { countTurns } from '../../support/countTurns.js';

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
  expect(kept.writes).toHaveLength(0);
  prepared();
  for (let turn = 0; turn < 4; turn++) await setImmediate();
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
  expect(deep.push(end).equals(end)).toBe(true);
  // Back at the top all is as before.
  const levels = rewriter();
  const nested = `${'{"x":['.repeat(300)}{"uri":"a"}${']}'.repeat(300)}`;
  const around = (uri: string): string => `[{"uri":"${uri}"},${nested},{"z":{},"uri":"${uri}"}]`;
  expect(levels.push(Buffer.from(around('a'))).toString()).toBe(around('b'));
});

test('a piece in which nothing is changed goes on as it is, not copied, however many members stand in it', () => {
  const members = Buffer.from(`${'"a":1,"uri":"x","other":{"b":[2]},'.repeat(1_000)}"a":`);
  const sides = [rewriter(), new MemberRewriter({ cacheScope: '"private"', ttlMs: null })];
  for (const side of sides) {
    const written: Buffer[] = [];
    const sink = new RewritingSink({ write: (piece) => written.push(piece) > 0 }, side);
    sink.write(Buffer.from('{'));
    sink.write(members);
    expect(written).toHaveLength(2);
    expect(written[1]?.buffer === members.buffer).toBe(true);
    expect(written[1]?.byteOffset).toBe(members.byteOffset);
    expect(side.changed).toBe(false);
  }
});

test('what waited is gone through in the turns that all large answers share', async () => {
  const turns: number[] = [];
  using counted = countTurns();
  /** Uses up what all may take of a turn. */
  const slow = {
    changed: false,
    push: (piece: Buffer): Buffer => {
      for (const startMs = performance.now(); performance.now() - startMs < 9; );
      turns.push(counted.count);
      return piece;
    },
  };
  const prepared = Promise.resolve();
  const sinks = Array.from({ length: 6 }, () => new RewritingSink(new Kept(), slow, prepared));
  for (const sink of sinks) for (const piece of ['1', '2']) sink.write(Buffer.from(piece));
  await Promise.all(sinks.map((sink) => sink.passedOn()));
  expect(turns).toHaveLength(12);
  expect(new Set(turns).size).toBe(12);
});
