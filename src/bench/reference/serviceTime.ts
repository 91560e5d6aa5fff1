import { OptionError } from '../../core/errors.js';

/** Where an answer of the reference server says how long it was served, in ms; what a call took beyond that is the way's. */
export const SERVICE_META = 'mcp-poolkit/serviceMs';

/** Gives the service time of the next call, in ms. */
export type ServiceTime = () => number;

const EXPECTED =
  "'none', 'fixed:MS', 'uniform:MIN:MAX', 'exponential:MEAN' or 'stall:MS:EVERY' (stalled for MS at the start of each EVERY), times in ms";

/** The times of a reference server, drawn from one seed: the same in every run. @throws OptionError */
export function serviceTime(text: string): ServiceTime {
  const [kind = '', ...words] = text.split(':');
  const numbers = words.map(Number);
  const [a = 0, b = 0] = numbers;
  const wanted = { none: 0, fixed: 1, uniform: 2, exponential: 1, stall: 2 }[kind];
  const bad = numbers.some((each) => !(each >= 0 && each <= 3_600_000));
  const crossed = (kind === 'uniform' || kind === 'stall') && b < a;
  if (words.length !== wanted || bad || crossed) throw new OptionError('service', text, EXPECTED);
  const random = generator(42);
  const startMs = performance.now();
  switch (kind) {
    case 'fixed':
      return () => a;
    case 'uniform':
      return () => a + (b - a) * random();
    case 'exponential':
      return () => -Math.log(random()) * a;
    case 'stall':
      return () => Math.max(0, a - ((performance.now() - startMs) % b));
    default:
      return () => 0;
  }
}

/** Linear congruential (Numerical Recipes), from above 0 to below 1. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

/** Runs `then` after `ms`, at an exact moment: a timer alone is late by up to a millisecond. */
export function afterExactly(ms: number, then: () => void): void {
  const untilMs = performance.now() + ms;
  const wait = (): void => {
    const restMs = untilMs - performance.now();
    if (restMs <= 0) then();
    else if (restMs > 2) setTimeout(wait, restMs - 1.5);
    else setImmediate(wait);
  };
  wait();
}
