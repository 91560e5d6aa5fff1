import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach } from 'vitest';
import { closeAndCheck, type LeakBaseline, leakBaseline } from '../../src/testing/closeAndCheck.js';
import { closeAll } from './closeAfter.js';
import { activeHandles, endLeft } from './endLeft.js';
import { NOT_OURS } from './notOurs.js';

/** Ledgers and caches of the tests stay out of the home of whoever runs them. */
const home = mkdtempSync(join(tmpdir(), 'poolkit-test-'));
process.env['XDG_STATE_HOME'] = join(home, 'state');
process.env['XDG_CACHE_HOME'] = join(home, 'cache');

/** Every test ends through `closeAndCheck`: whatever it left alive fails it, is ended then, and fails no other. */
let baseline: LeakBaseline;
let handles: ReadonlySet<unknown>;

beforeEach(() => {
  baseline = leakBaseline({ ignoreTimer: (stack) => NOT_OURS.test(stack) });
  handles = activeHandles();
});

afterEach(async () => {
  try {
    await closeAll();
    await closeAndCheck(baseline);
  } catch (error) {
    await endLeft(baseline, handles);
    throw error;
  }
});

afterAll(() => rmSync(home, { recursive: true, force: true }));
