import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LifecycleManager } from '../../../src/registry/lifecycle/LifecycleManager.js';
import { closeAfter } from '../../support/closeAfter.js';
import { isAlive } from '../../support/processes.js';
import { RUNS } from '../../support/runs.js';

const openFds = (): number => readdirSync('/proc/self/fd').length;
const listeners = (): number => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);

/** Rounds after the first are compared with it: four show a leak; `npm run test:long` makes forty. */
const ROUNDS = RUNS > 1_000 ? 40 : 4;
const LANES = 25;

test('a hundred starts and stops leave no process, no descriptor, no listener and no record', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'poolkit-ledger-'));
  const manager = closeAfter(new LifecycleManager({ ledger: { directory } }));
  const pids = new Set<number>();
  let [fdsBefore, listenersBefore] = [0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    await Promise.all(
      Array.from({ length: LANES }, async (_, lane) => {
        const handle = await manager.start({ id: `lane ${lane}`, name: 'cat', command: '/bin/cat' });
        pids.add(handle.process.pid);
        await (lane % 2 === 0 ? handle.stop() : handle.kill());
      }),
    );
    if (round === 0) [fdsBefore, listenersBefore] = [openFds(), listeners()];
  }
  expect(pids.size).toBe(ROUNDS * LANES);
  expect([...pids].filter(isAlive)).toEqual([]);
  expect(openFds()).toBe(fdsBefore);
  expect(listeners()).toBe(listenersBefore);
  expect(readdirSync(join(directory, 'processes'))).toEqual([]);
  expect(manager.list()).toHaveLength(LANES);
  rmSync(directory, { recursive: true });
  // Of a hundred processes: a busy machine takes its time.
}, 120_000);
