import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairQueue } from '../../src/concurrent/queue/FairQueue.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../support/runs.js';

const forever = Number.POSITIVE_INFINITY;
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      owner: fc.constantFrom(undefined, 'ann', 'ann', 'bob', 'eve'),
      times: fc.constantFrom(1, 1, 3, 20),
      timeoutMs: fc.constantFrom(forever, 100, 100, 250),
      weight: fc.constantFrom(1, 1, 1, 2),
      signal: fc.constantFrom(undefined, undefined, 0, 1),
      more: fc.constantFrom(0, 0, 0, 4),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('shift' as const), times: fc.constantFrom(1, 2, 30) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('shiftOf' as const), owner: fc.constantFrom(undefined, 'bob') }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), signal: fc.constantFrom(0, 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 60, 130) }) },
);

interface Waiting {
  readonly number: number;
  readonly weight: number;
  readonly signal: number | undefined;
  readonly dueMs: number;
}

/** The specification: a list for each owner, in the order of their turns. */
class Model {
  readonly #max: number;
  readonly #lists = new Map<string | undefined, Waiting[]>();
  constructor(max: number) {
    this.#max = max;
  }
  /** In the order in which they are served, if no other comes. */
  get order(): Waiting[] {
    const lists = [...this.#lists.values()];
    const rounds = Math.max(0, ...lists.map((list) => list.length));
    return Array.from({ length: rounds }, (_, round) => lists.flatMap((list) => list.slice(round, round + 1))).flat();
  }
  mayWait(owner: string | undefined, more: number): boolean {
    const free = this.#max + more - this.order.length;
    if (this.order.length < more) return true;
    return free > 0 && (owner === undefined || (this.#lists.get(owner)?.length ?? 0) < 3 * free);
  }
  add(owner: string | undefined, waiting: Waiting): void {
    this.#lists.set(owner, [...(this.#lists.get(owner) ?? []), waiting]);
  }
  shift(may = (_owner: string | undefined) => true): Waiting | undefined {
    const next = [...this.#lists].find(([owner]) => may(owner));
    if (next === undefined) return undefined;
    const [owner, [first, ...rest]] = next;
    this.#lists.delete(owner);
    if (rest.length > 0) this.#lists.set(owner, rest);
    return first;
  }
  leave(which: (waiting: Waiting) => boolean): Waiting[] {
    const gone = this.order.filter(which);
    for (const [owner, list] of this.#lists) {
      const left = list.filter((each) => !which(each));
      if (left.length > 0) this.#lists.set(owner, left);
      else this.#lists.delete(owner);
    }
    return gone;
  }
}

const sum = (weights: readonly number[]): number => weights.reduce((all, each) => all + each, 0);

test(
  'owners take turns, each with the oldest of its own, and none takes the places of all, whatever waits, leaves and is served',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(0, 1, 3, 8, 40, forever),
        fc.array(step, { maxLength: 50, size: 'max' }),
        async (maxQueue, steps) => {
          const clock = new FakeClock();
          const ends = new Map<number, string>();
          const expected = new Map<number, string>();
          const model = new Model(maxQueue);
          const owners = new Map<number, string | undefined>();
          const queue = new FairQueue<number>({
            what: 'queue',
            maxQueue,
            clock,
            timeoutError: (_timeoutMs, _weight, owner) => new Error(`late ${owner}`),
          });
          const controllers = [new AbortController(), new AbortController()];
          let asked = 0;
          for (const each of steps) {
            if (each.do === 'wait') {
              for (let i = 0; i < each.times; i++) {
                const number = asked++;
                const { owner, timeoutMs, weight, more } = each;
                owners.set(number, owner);
                const signal =
                  each.signal === undefined ? undefined : (controllers[each.signal] as AbortController).signal;
                const ahead = queue.ahead(owner);
                const told = [ahead.size, ahead.weight, [...ahead.weights()]];
                queue.wait({ timeoutMs, weight, signal, tag: number }, owner, more).then(
                  (value) => void ends.set(number, `served ${value}`),
                  (error: unknown) => void ends.set(number, error instanceof Error ? error.message : String(error)),
                );
                if (!model.mayWait(owner, more)) {
                  expected.set(number, `queue: ${model.order.length} are waiting, ${maxQueue + more} may`);
                  continue;
                }
                model.add(owner, { number, weight, signal: each.signal, dueMs: clock.now() + timeoutMs });
                const { order } = model;
                const before = order.slice(
                  0,
                  order.findIndex((waiting) => waiting.number === number),
                );
                const weights = before.map((waiting) => waiting.weight);
                assert.deepEqual(told, [before.length, sum(weights), weights]);
              }
            } else if (each.do === 'shift') {
              for (let i = 0; i < each.times; i++) {
                assert.equal(queue.peek(), model.order[0]?.weight ?? 0);
                const waiter = queue.shift();
                const first = model.shift();
                assert.deepEqual([waiter?.tag, waiter?.weight], [first?.number, first?.weight]);
                if (first === undefined) break;
                waiter?.resolve(first.number);
                expected.set(first.number, `served ${first.number}`);
              }
            } else if (each.do === 'shiftOf') {
              const may = (owner: string | undefined): boolean => owner === each.owner || owner === 'eve';
              const waiter = queue.shiftOf(may);
              const first = model.shift(may);
              assert.deepEqual([waiter?.tag, waiter?.weight], [first?.number, first?.weight]);
              if (first === undefined) continue;
              waiter?.resolve(first.number);
              expected.set(first.number, `served ${first.number}`);
            } else if (each.do === 'abort') {
              controllers[each.signal]?.abort('aborted');
              controllers[each.signal] = new AbortController();
              for (const { number } of model.leave(({ signal }) => signal === each.signal))
                expected.set(number, 'aborted');
            } else {
              await clock.advance(each.ms);
              const nowMs = clock.now();
              const late = model.leave(({ dueMs, number }) => dueMs <= nowMs && ends.has(number));
              for (const { number } of late) expected.set(number, `late ${owners.get(number)}`);
              // The wheel's tick is 10 ms.
              assert.equal(model.order.filter(({ dueMs }) => dueMs < nowMs - 20).length, 0);
            }
            const weights = model.order.map(({ weight }) => weight);
            assert.deepEqual([queue.size, queue.weight, [...queue.weights()]], [weights.length, sum(weights), weights]);
          }
          queue.rejectAll('closed');
          for (const { number } of model.order) expected.set(number, 'closed');
          await clock.advance(0);
          assert.deepEqual(Object.fromEntries(ends), Object.fromEntries(expected));
          assert.deepEqual([queue.size, queue.weight, clock.armedTimers], [0, 0, 0]);
        },
      ),
      { numRuns: Math.ceil(RUNS / 5) },
    );
  },
  RUNS_TIMEOUT_MS,
);

test('one whose signal aborted a moment ago is not served, and who serves then may find another', async () => {
  const left = new AbortController();
  const served: unknown[] = [];
  const seen: unknown[] = [];
  const serve = (): void => {
    for (let weight = queue.peek(); weight > 0; weight = queue.peek()) {
      seen.push(weight);
      const waiter = queue.shift();
      served.push([waiter?.tag, waiter?.weight]);
      waiter?.resolve();
      if (served.length === 2) return;
    }
  };
  // Before the queue hears of it.
  left.signal.addEventListener('abort', serve, { once: true });
  const queue = new FairQueue<void>({ what: 'q', maxQueue: 10, timeoutError: () => new Error('late'), onLeave: serve });
  const forEver = { timeoutMs: forever };
  const gone = queue.wait({ ...forEver, signal: left.signal, weight: 5 }, 'ann').catch((error: unknown) => error);
  void queue.wait({ ...forEver, weight: 2, tag: 'a' }, 'ann');
  void queue.wait({ ...forEver, weight: 3, tag: 'b' }, 'bob');
  void queue.wait({ ...forEver, weight: 4, tag: 'c' }, 'ann');
  left.abort('never mind');
  expect(await gone).toBe('never mind');
  expect(served).toEqual([
    ['a', 2],
    ['b', 3],
    ['c', 4],
  ]);
  expect(seen).toEqual([2, 3, 4]);
  expect(queue.size).toBe(0);
});
