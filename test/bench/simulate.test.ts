import { expect, test } from 'vitest';
import { run, simulate } from '../../bench/scale/simulate.js';

test('the simulation agrees with the theory of one server with fixed service times', () => {
  for (const load of [0.3, 0.6, 0.8]) {
    const cpuUs = 100;
    const model = { replicas: 1, callsPerSec: (load * 1e6) / cpuUs, cpuUs, seconds: 20, kill: false, seed: 7 };
    const { meanMs, utilisation } = run(model);
    // M/D/1: the service time, and load / (2 (1 - load)) of it in the queue.
    const theoryMs = (cpuUs / 1_000) * (1 + load / (2 * (1 - load)));
    expect(meanMs / theoryMs).toBeGreaterThan(0.9);
    expect(meanMs / theoryMs).toBeLessThan(1.1);
    expect(utilisation).toBeCloseTo(load, 1);
  }
});

test('after a kill the others have its calls; what was in flight there is lost', () => {
  const { utilisation, lost } = run({ replicas: 4, callsPerSec: 24_000, cpuUs: 100, seconds: 4, kill: true, seed: 3 });
  expect(utilisation).toBeCloseTo(0.8, 1);
  expect(lost).toBeLessThan(20);
  expect(simulate()).toContain('| 20 |');
});
