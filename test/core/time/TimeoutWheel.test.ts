import { afterEach, beforeEach, expect, test } from 'vitest';
import { TimeoutWheel, WheelEntry } from '../../../src/core/time/TimeoutWheel.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { countTurns } from '../../support/countTurns.js';

let clock: FakeClock;
let wheel: TimeoutWheel;
let fired: string[];

class Entry extends WheelEntry {
  readonly #then: () => void;
  readonly name: string;

  constructor(name: string, then: () => void = () => undefined) {
    super();
    this.name = name;
    this.#then = then;
  }

  override onTimeout(): void {
    fired.push(`${this.name}@${clock.now()}`);
    this.#then();
  }
}

beforeEach(() => {
  clock = new FakeClock();
  wheel = new TimeoutWheel(clock);
  fired = [];
});

afterEach(() => {
  wheel.close();
  expect(clock.armedTimers).toBe(0);
});

test('an entry fires in the first tick at or after its time', () => {
  wheel.add(new Entry('a'), 25);
  clock.advanceSync(25);
  expect(fired).toEqual([]);
  clock.advanceSync(6);
  expect(fired).toEqual(['a@31']);
  expect(wheel.size).toBe(0);
});

test('a delay of 0 fires too', () => {
  wheel.add(new Entry('a'), 0);
  clock.advanceSync(1);
  expect(fired).toEqual(['a@1']);
});

test('Infinity never fires, arms nothing, and takes an entry out', () => {
  const entry = new Entry('a');
  wheel.add(entry, Number.POSITIVE_INFINITY);
  expect([wheel.size, clock.armedTimers]).toEqual([0, 0]);
  wheel.add(entry, 10);
  wheel.add(entry, Number.POSITIVE_INFINITY);
  clock.advanceSync(1_000);
  expect([fired, wheel.size]).toEqual([[], 0]);
});

test('an entry further off than a turn of the wheel waits for its own turn', () => {
  wheel.add(new Entry('far'), 20_000);
  wheel.add(new Entry('near'), 100);
  clock.advanceSync(19_999);
  expect(fired).toEqual(['near@101']);
  clock.advanceSync(2);
  expect(fired).toEqual(['near@101', 'far@20001']);
});

test('entries of one tick fire in the order they came', () => {
  for (const name of ['a', 'b', 'c', 'd']) wheel.add(new Entry(name), 15);
  clock.advanceSync(30);
  expect(fired).toEqual(['a@21', 'b@21', 'c@21', 'd@21']);
});

test('one that a callback adds far off does not delay those that are nearer', () => {
  wheel.add(new Entry('a', () => wheel.add(new Entry('far'), 3_000)), 10);
  wheel.add(new Entry('near'), 50);
  clock.advanceSync(61);
  expect(fired).toEqual(['a@11', 'near@51']);
  clock.advanceSync(3_000);
  expect(fired).toEqual(['a@11', 'near@51', 'far@3021']);
});

test('one that an earlier callback removes does not fire, one that it moves fires at its new time', () => {
  const [removed, moved] = [new Entry('removed'), new Entry('moved')];
  wheel.add(
    new Entry('first', () => {
      wheel.remove(removed);
      wheel.add(moved, 100);
    }),
    10,
  );
  wheel.add(removed, 10);
  wheel.add(moved, 10);
  clock.advanceSync(200);
  expect(fired).toEqual(['first@11', 'moved@121']);
});

test('one that adds itself again fires again', () => {
  let left = 3;
  const entry: Entry = new Entry('again', () => void (--left > 0 && wheel.add(entry, 0)));
  wheel.add(entry, 0);
  clock.advanceSync(100);
  expect(fired).toEqual(['again@1', 'again@11', 'again@21']);
});

test('a throw goes the timer’s way, after everyone had his turn, and stops nothing', () => {
  wheel.add(
    new Entry('bad', () => {
      throw new Error('from a callback');
    }),
    10,
  );
  wheel.add(new Entry('good'), 10);
  wheel.add(new Entry('later'), 50);
  expect(() => clock.advanceSync(20)).toThrow('from a callback');
  expect(fired).toEqual(['bad@11', 'good@11']);
  clock.advanceSync(40);
  expect(fired).toEqual(['bad@11', 'good@11', 'later@51']);
});

test('after a suspend everything due fires at once, in the order of time', () => {
  wheel.add(new Entry('late'), 4_000);
  wheel.add(new Entry('later'), 9_000);
  wheel.add(new Entry('early'), 20);
  wheel.add(new Entry('not yet'), 60_000);
  clock.suspend(30_000);
  clock.advanceSync(0);
  expect(fired).toEqual(['early@30000', 'late@30000', 'later@30000']);
  clock.advanceSync(30_001);
  expect(fired.at(-1)).toBe('not yet@60001');
});

test('all entries share one timer, which holds the process open only while somebody waits', () => {
  const entries = Array.from({ length: 1_000 }, (_, i) => new Entry(String(i)));
  for (const [i, entry] of entries.entries()) wheel.add(entry, 1_000 - i);
  expect([clock.armedTimers, clock.refTimers]).toEqual([1, 1]);
  for (const entry of entries) wheel.remove(entry);
  expect([wheel.size, clock.armedTimers, clock.refTimers]).toEqual([0, 1, 0]);
  wheel.add(new Entry('next'), 5_000);
  expect([clock.armedTimers, clock.refTimers]).toEqual([1, 1]);
  clock.advanceSync(6_000);
  expect(fired).toEqual(['next@5001']);
  expect(clock.armedTimers).toBe(0);
});

test('a wheel that fell empty in its own callbacks holds nothing open', () => {
  const next = new Entry('next');
  wheel.add(new Entry('first', () => wheel.add(next, 100)), 10);
  wheel.add(new Entry('second', () => wheel.remove(next)), 10);
  clock.advanceSync(20);
  expect([wheel.size, clock.refTimers]).toEqual([0, 0]);
});

test('close disarms, also from a callback, and calls nobody', () => {
  wheel.add(new Entry('first', () => wheel.close()), 10);
  wheel.add(new Entry('second'), 10);
  wheel.add(new Entry('third'), 500);
  clock.advanceSync(1_000);
  expect([fired, wheel.size, clock.armedTimers]).toEqual([['first@11'], 0, 0]);
  wheel.close();
});

test('removing one that is not in does nothing', () => {
  const entry = new Entry('a');
  wheel.remove(entry);
  wheel.add(entry, 10);
  wheel.remove(entry);
  wheel.remove(entry);
  expect(wheel.size).toBe(0);
});

test('after the loop stood still, what was due meanwhile has as long again, bounded and once', () => {
  wheel = new TimeoutWheel(clock, { maxGraceMs: 1_000 });
  const late = new Entry('late');
  wheel.add(late, 50);
  clock.advanceSync(52);
  expect(fired.splice(0)).toEqual(['late@51']);

  const answered = new Entry('answered');
  const moved = new Entry('moved');
  for (const each of [late, answered, moved]) wheel.add(each, 48);
  clock.suspend(348);
  clock.advanceSync(0);
  expect([fired, wheel.size]).toEqual([[], 3]);
  wheel.remove(answered);
  wheel.add(moved, 1_000);
  // It was 300 ms behind its tick at 400, and so it is once more: the grace was its last.
  clock.advanceSync(290);
  clock.suspend(300);
  clock.advanceSync(0);
  expect(fired.splice(0)).toEqual(['late@990']);
  // One that began anew has a grace of its own.
  clock.suspend(500);
  clock.advanceSync(0);
  expect(fired).toEqual([]);
  clock.advanceSync(110);
  expect(fired.splice(0)).toEqual(['moved@1581']);

  wheel.add(late, 50);
  clock.suspend(60_000);
  clock.advanceSync(0);
  expect(fired).toEqual([]);
  clock.advanceSync(1_011);
  expect([fired.length, wheel.size]).toEqual([1, 0]);
});

test('of thousands that are due at one instant a bounded number is called in each turn of the event loop, in order; those that end meanwhile are not', async () => {
  using turns = countTurns();
  const inTurnOf = new Map<number, number>();
  const count = (): void => void inTurnOf.set(turns.count, (inTurnOf.get(turns.count) ?? 0) + 1);
  const entries = Array.from({ length: 1_000 }, (_, i) => new Entry(String(i), count));
  for (const entry of entries) wheel.add(entry, 10);
  clock.advanceSync(11);
  expect(fired.length).toBeLessThan(300);
  wheel.remove(entries[998] as Entry);
  wheel.add(entries[999] as Entry, 20);
  await expect.poll(() => wheel.size, { interval: 0 }).toBe(1);
  expect(fired).toEqual(entries.slice(0, 998).map(({ name }) => `${name}@11`));
  expect(Math.max(...inTurnOf.values())).toBeLessThan(300);
  clock.advanceSync(30);
  expect(fired.at(-1)).toBe('999@41');
});

test('one that is closed while many wait for their turn calls none of them', async () => {
  for (let i = 0; i < 1_000; i++) wheel.add(new Entry(String(i)), 10);
  clock.advanceSync(11);
  const { length } = fired;
  wheel.close();
  await clock.advance(1_000);
  expect(fired).toHaveLength(length);
});
