import { inTurn, inTurnOrNow } from './turns.js';

/** What is done in one turn of the event loop, in ms. */
const SLICE_MS = 5;
/** Steps between two looks at the clock. */
const STEPS = 32;

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
