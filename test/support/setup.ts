import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach } from 'vitest';
import { closeAndCheck, type LeakBaseline, leakBaseline } from '../../src/testing/closeAndCheck.js';
import { closeAll } from './closeAfter.js';

/**
 * Timers that are nobody's leak: the test runner's own; those of Node's own fetch, whose sockets outlive a test in a
 * pool that nobody can close; the one clock that undici's connections share, which stops by itself within a second.
 */
const NOT_OURS =
  /node_modules\/(@vitest|vitest|birpc|tinypool)\/|node:internal\/deps\/undici|node_modules\/undici\/lib\/util\/timers/;

/** Ledgers and caches of the tests stay out of the home of whoever runs them. */
const home = mkdtempSync(join(tmpdir(), 'poolkit-test-'));
process.env['XDG_STATE_HOME'] = join(home, 'state');
process.env['XDG_CACHE_HOME'] = join(home, 'cache');

/** Every test ends through `closeAndCheck`: whatever it left alive fails it. */
let baseline: LeakBaseline;

beforeEach(() => {
  baseline = leakBaseline({ ignoreTimer: (stack) => NOT_OURS.test(stack) });
});

afterEach(async () => {
  await closeAll();
  await closeAndCheck(baseline);
});

afterAll(() => rmSync(home, { recursive: true, force: true }));
