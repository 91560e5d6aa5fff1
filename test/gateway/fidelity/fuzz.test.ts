import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { closeAfter } from '../../support/closeAfter.js';
import { Fronts } from './fuzz/Fronts.js';
import { inputOf, type KeptInput } from './fuzz/Input.js';
import { inputsOf, runFuzz } from './fuzz/runFuzz.js';

/**
 * What no client would send goes to all fronts of a gateway before real servers, raw HTTP and JSON-RPC of both eras: each
 * input is answered, with a status of the specification and under its own id, and no server ends of it. This is the short
 * form; `npm run fuzz` sends as many as it is told.
 */

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const INPUTS = 200;

const kept = (JSON.parse(readFileSync(`${import.meta.dirname}/fuzz/seeds.json`, 'utf8')) as KeptInput[]).map(inputOf);

test('what no client would send is refused as the specification has it, whatever it is', async () => {
  const fronts = closeAfter(new Fronts());
  await fronts.start();
  const report = await runFuzz(fronts, [...kept, ...inputsOf(20_260_728, INPUTS)]);
  expect(report.failures).toEqual([]);
  expect(report.inputs).toBe(kept.length + INPUTS);
  // It is no fuzzing when all is refused at the door.
  for (const status of ['200', '202', '400', '404']) expect(report.statuses[status]).toBeGreaterThan(10);
});
