// Fuzzes all fronts of a gateway before real servers: `--inputs=N` (100,000), `--seed=N` of the run, or `--only=SEED` for
// one input, which is shown as seeds.json keeps it: the tests send again what is kept there.
import { memoryUsage } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Fronts } from './Fronts.js';
import { keptOf } from './Input.js';
import { makeInput } from './making/makeInput.js';
import { inputsOf, runFuzz } from './runFuzz.js';

const MIB = 2 ** 20;
const flags = new Map<string, string>();
for (let i = 2; i < process.argv.length; i++) {
  const [name = '', value] = (process.argv[i] ?? '').replace(/^--/, '').split('=');
  flags.set(name, value ?? process.argv[++i] ?? '');
}
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const unhandled: string[] = [];
process.on('uncaughtException', (error) => void unhandled.push(error.stack ?? String(error)));
process.on(
  'unhandledRejection',
  (error) => void unhandled.push(error instanceof Error ? (error.stack ?? '') : String(error)),
);

const inputs = Number(flags.get('inputs') ?? 100_000);
const run = Number(flags.get('seed') ?? Date.now() % 1_000_000);
const only = flags.get('only');
const fronts = new Fronts();
await fronts.start();
const heaps: number[] = [];
const began = performance.now();
const measure = (done: number): void => {
  collect();
  heaps.push(memoryUsage().heapUsed / MIB);
  const { sessions, heldBytes } = fronts.gateway.stats;
  console.error(
    `${done} inputs, ${Math.round(heaps.at(-1) ?? 0)} MiB of heap, ${sessions} sessions, ${heldBytes} bytes held`,
  );
};
const one = only === undefined ? undefined : makeInput(Number(only));
if (one !== undefined) console.log(JSON.stringify(keptOf(one, '?')), `\n${one.body.toString().slice(0, 4_000)}`);
const report = await runFuzz(fronts, one === undefined ? inputsOf(run, inputs) : [one], {
  inputs: Math.max(1, Math.floor(inputs / 20)),
  call: measure,
});
const took = (performance.now() - began) / 1_000;
for (const { seed, what } of report.failures.slice(0, 500)) console.log(`seed ${seed}: ${what.slice(0, 400)}`);
for (const what of unhandled) console.log(`unhandled: ${what}`);
const [early = 0, late = 0] = [heaps[Math.floor(heaps.length / 4)], heaps.at(-1)];
console.log(
  JSON.stringify({
    run,
    inputs: report.inputs,
    seconds: Math.round(took),
    failures: report.failures.length,
    unhandled: unhandled.length,
    heapMiB: { early: Math.round(early), late: Math.round(late) },
    statuses: report.statuses,
  }),
);
await fronts.close();
process.exit(report.failures.length + unhandled.length === 0 && late < early * 1.3 + 20 ? 0 : 1);
