import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { liveTimers } from '../../src/testing/timerLedger.js';

let gc: (() => void) | undefined;

/**
 * Collects garbage now, and says how many bytes the heap and what it holds outside have then. What the leak check records of timers is no part of it: until
 * a stack is written V8 keeps what stood in its frames, a call with its params among them.
 */
export function collectGarbage(): number {
  if (gc === undefined) {
    setFlagsFromString('--expose-gc');
    gc = runInNewContext('gc') as () => void;
  }
  for (const { stack } of liveTimers().values()) void stack;
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
