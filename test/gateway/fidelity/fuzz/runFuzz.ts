import type { Fronts } from './Fronts.js';
import type { Input } from './Input.js';
import { judge } from './judge.js';
import { makeInput } from './making/makeInput.js';

/** Inputs in flight at once. */
const WORKERS = 8;

export interface Verdict {
  readonly seed: number;
  readonly what: string;
}

export interface FuzzReport {
  readonly inputs: number;
  readonly failures: readonly Verdict[];
  /** By status, how many answers. */
  readonly statuses: Readonly<Record<string, number>>;
}

/** Sends each input to `fronts`, and judges what comes back. `every`: called after so many inputs. */
export async function runFuzz(
  fronts: Fronts,
  inputs: Iterable<Input>,
  every: { readonly inputs: number; readonly call: (done: number) => void } = { inputs: 1_000, call: () => undefined },
): Promise<FuzzReport> {
  const failures: Verdict[] = [];
  const statuses: Record<string, number> = {};
  const left = inputs[Symbol.iterator]();
  let done = 0;
  const work = async (): Promise<void> => {
    for (let next = left.next(); next.done !== true; next = left.next()) {
      const input = next.value;
      const restarts = fronts.restarts;
      const observed = await fronts.send(input);
      const status = observed.status === -1 ? 'none' : `${observed.status}`;
      statuses[status] = (statuses[status] ?? 0) + 1;
      const { seed } = input;
      if (observed.session !== undefined) await fronts.end(input, observed.session);
      let what = judge(input, observed);
      // Its session is gone, by this or by what was sent beside it.
      if (observed.status === 404 || input.method === 'DELETE' || input.raw !== undefined) fronts.forget(input);
      if (observed.status === 404 && observed.body.includes('no such session')) what = undefined;
      if (what !== undefined) failures.push({ seed, what });
      if (fronts.restarts > restarts)
        failures.push({ seed, what: `about then a server ended: ${fronts.said.splice(0).join(' ')}` });
      for (const fault of fronts.faults.splice(0)) failures.push({ seed, what: `about then a fault: ${fault}` });
      done += 1;
      if (done % every.inputs === 0) every.call(done);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  return { inputs: done, failures, statuses };
}

/** The inputs of a run, told apart from those of any other run. */
export function* inputsOf(run: number, count: number): Generator<Input> {
  for (let i = 0; i < count; i++) yield makeInput((Math.imul(run, 0x9e3779b1) + i) | 0);
}
