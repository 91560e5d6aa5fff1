import { inTurn, inTurnOrNow, isTurnSpent, spendCaller } from './turns.js';

/** What is done in one turn of the event loop, in ms. */
const SLICE_MS = 5;
/** Steps between two looks at the clock. */
const STEPS = 32;
/** So many are done at one go of what has most of its work behind it: each takes 30 to 200 µs in a gateway. */
const AT_ONCE = 128;

/**
 * Runs `step` until it says that it is done: at once where that takes no longer than a turn may, with all that others do so in it, else in turns. Rejects with what it throws.
 * `steps`: so many are done between two looks at the clock, fewer where one may take long.
 */
export async function inSlices(step: () => boolean, steps = STEPS): Promise<void> {
  const slice = (): boolean => {
    const endMs = performance.now() + SLICE_MS;
    do {
      for (let done = 0; done < steps; done++) if (step()) return true;
    } while (performance.now() < endMs);
    return false;
  };
  for (let done = await inTurnOrNow(slice); !done; ) done = await inTurn(slice);
}

/** What `pick` makes of each, without undefined; a long list is gone through in turns of the event loop. Rejects with what `pick` throws. */
export async function pickedInSlices<T, R>(all: readonly T[], pick: (each: T) => R | undefined): Promise<R[]> {
  const picked: R[] = [];
  let at = 0;
  await inSlices(() => {
    if (at === all.length) return true;
    const one = pick(all[at++] as T);
    if (one !== undefined) picked.push(one);
    return false;
  });
  return picked;
}

/**
 * Runs `step` for each thing, a bounded number in each turn of the event loop, for steps that take their time later, in promises: what callers make
 * of the ends of their calls. Each step counts to the share of all in its turn; the first group runs at once while that is not used up. Rejects with
 * what `step` throws.
 */
export async function inGroups<T>(things: readonly T[], step: (thing: T, at: number) => void): Promise<void> {
  for (let from = 0; from < things.length; from += AT_ONCE) {
    const group = (): void => {
      for (const [at, thing] of things.slice(from, from + AT_ONCE).entries()) {
        step(thing, from + at);
        spendCaller();
      }
    };
    if (from === 0 && !isTurnSpent()) group();
    else await inTurn(group);
  }
}
