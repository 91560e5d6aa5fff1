import { PassThrough } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { FairRoom } from '../../../src/concurrent/FairRoom.js';
import { inSlices } from '../../../src/core/time/inSlices.js';
import { TurnReader } from '../../../src/core/time/TurnReader.js';
import { inTurn, TurnBudget, TurnEnd } from '../../../src/core/time/turns.js';
import { countTurns } from '../../support/countTurns.js';

function spin(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

test('long steps that many cause at once have a turn of the event loop each', async () => {
  using turns = countTurns();
  const step = (): number => {
    // More than the share that all have in a turn.
    spin(25);
    return turns.count;
  };
  const taken = await Promise.all([inTurn(step), inTurn(step), inTurn(step)]);
  expect(new Set(taken).size).toBe(3);
});

test('what many do in slices at once takes no more of one turn than the share of all', async () => {
  using turns = countTurns();
  const ends: number[] = [];
  const slices = Array.from({ length: 10 }, () =>
    inSlices(() => {
      // Less than one may take.
      spin(4.5);
      ends.push(turns.count);
      return true;
    }),
  );
  await Promise.all(slices);
  expect(new Set(ends).size).toBeGreaterThan(2);
});

test('steps that wait for one another, and for nothing else, are not all done in one turn', async () => {
  using turns = countTurns();
  const one = new FairRoom({ max: 1 });
  const ends: number[] = [];
  const steps = Array.from({ length: 1_000 }, (_, at) =>
    one.run({ group: `${at}` }, async () => void ends.push(turns.count)),
  );
  await Promise.all(steps);
  expect(new Set(ends).size).toBeGreaterThan(5);
});

test('what a step throws is what it rejects with, and the next one has its turn', async () => {
  const broken = inTurn(() => {
    throw new TypeError('broken');
  });
  const next = inTurn(() => 1);
  await expect(broken).rejects.toThrow('broken');
  expect(await next).toBe(1);
});

/** Reads in each turn, in what counts as so many ms, until the end of the test. */
class Reading {
  reads = 0;
  readonly #budget = new TurnBudget();
  readonly #ms: number;

  constructor(ms: number) {
    this.#ms = ms;
    this.#budget.inNextTurn(this.#read);
    onTestFinished(() => this.#budget.close());
  }

  readonly #read = (): void => {
    this.reads++;
    this.#budget.spend(0, 1, performance.now() - this.#ms);
    this.#budget.inNextTurn(this.#read);
  };
}

const many = (count: number, ms: number): Reading[] => Array.from({ length: count }, () => new Reading(ms));
const readsOf = (all: readonly Reading[]): number => all.reduce((sum, { reads }) => sum + reads, 0);
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what takes little does not wait for the floods of many others, which share the turns among them', async () => {
  using turns = countTurns();
  const floods = many(12, 16);
  while (readsOf(floods) < 30) await nextTurn();
  const reads = floods.map((each) => each.reads);
  expect(Math.max(...reads) - Math.min(...reads)).toBeLessThanOrEqual(2);
  // Each of these is more than a turn's share.
  expect(turns.count).toBeGreaterThanOrEqual(25);
  const light = new TurnBudget();
  const waited: number[] = [];
  for (let answers = 0; answers < 10; answers++) {
    const before = readsOf(floods);
    await new Promise<void>((resolve) => light.inNextTurn(resolve));
    waited.push(readsOf(floods) - before);
    light.spend(100, 1, performance.now() - 0.1);
  }
  light.close();
  expect(Math.max(...waited)).toBeLessThanOrEqual(1);
});

test('what takes much has its turns too, however many others take little', async () => {
  const light = many(40, 1);
  const [heavy] = many(1, 16);
  while ((heavy?.reads ?? 0) < 5) {
    expect(readsOf(light)).toBeLessThan(2_000);
    await nextTurn();
  }
});

test('of messages that take long each, few are read between two looks at the clock', async () => {
  using turns = countTurns();
  const reads: number[] = [];
  // Each byte is one, as it is where a notification is told to a thousand clients.
  const push = (chunk: Buffer, max = chunk.length): number => {
    const count = Math.min(max, chunk.length);
    for (let at = 0; at < count; at++) {
      spin(1.5);
      reads.push(turns.count);
    }
    return count;
  };
  const stream = new PassThrough();
  const reader = new TurnReader(stream, { push, takeCount: () => 1 }, (error) => expect(error).toBeUndefined());
  onTestFinished(() => reader.close());
  stream.write(Buffer.alloc(32));
  await expect.poll(() => reads.length).toBe(32);
  expect(new Set(reads).size).toBeGreaterThan(5);
});

test('of those that read of one budget, the ones that a turn has no share for go first in the next', async () => {
  const budget = new TurnBudget({ maxBytes: 1 });
  onTestFinished(() => budget.close());
  const order: string[] = [];
  await Promise.all(
    ['a', 'b', 'c'].map(
      (name) =>
        new Promise<void>((done) => {
          let left = 3;
          const read = (): void => {
            order.push(budget.spent ? 'spent' : name);
            budget.spend(1, 0, performance.now());
            if (--left > 0) budget.inNextTurn(read);
            else done();
          };
          budget.inNextTurn(read);
        }),
    ),
  );
  expect(order.join('')).toBe('abcabcabc');
});

test('what is done for many at the end of a turn takes several turns where it takes long, in order, once for each', async () => {
  using turns = countTurns();
  const done: (readonly [thing: number, turn: number])[] = [];
  await new Promise<void>((resolve) => {
    const end = new TurnEnd((thing: number) => {
      spin(3);
      done.push([thing, turns.count]);
      if (thing === 9) resolve();
    });
    for (let thing = 0; thing < 10; thing++) end.add(thing);
    end.add(0);
    end.add(10);
    end.delete(10);
  });
  expect(done.map(([thing]) => thing)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(new Set(done.map(([, turn]) => turn)).size).toBeGreaterThan(3);
});
