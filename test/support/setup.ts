import { afterEach, beforeEach } from 'vitest';
import { closeAndCheck, type LeakBaseline, leakBaseline } from '../../src/testing/closeAndCheck.js';
import { closeAll } from './closeAfter.js';

/** Every test ends through `closeAndCheck`: whatever it left alive fails it. */
let baseline: LeakBaseline;

beforeEach(() => {
  baseline = leakBaseline({
    ignoreTimer: (stack) => /node_modules\/(@vitest|vitest|birpc|tinypool)\/|node:internal\/deps\/undici/.test(stack),
  });
});

afterEach(async () => {
  await closeAll();
  await closeAndCheck(baseline);
});
