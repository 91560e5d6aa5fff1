import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runLastResort } from '../../src/core/close/lastResort.js';
import { type ChaosRule, describeRule, makePlan } from './plan.js';
import { type RoundResult, runRound } from './round.js';
import { shrink } from './shrink.js';
import { watchLoop } from './watchLoop.js';

/**
 * `npm run chaos -- [--seed N ...] [--minutes M]`: rounds of four pools and the gateway under faults, each judged by the
 * checker. A seed of `fresh` is a new one. The first guilty round is run again with ever fewer rules, and what is left
 * is printed with its seed. `--round N [--keep 0,3]` runs one round alone, with these of its rules; `--keep-going` goes on
 * behind a guilty round; `--history FILE` keeps the last history, and that of a guilty round as FILE.SEED. `--confirm N` runs
 * a guilty round up to N times more: one that is not guilty again is told, and fails nothing (decision 265).
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', multiple: true, default: ['fresh'] },
    minutes: { type: 'string', default: '2' },
    round: { type: 'string' },
    keep: { type: 'string' },
    storm: { type: 'string', default: '4' },
    workers: { type: 'string', default: '24' },
    'no-shrink': { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
    confirm: { type: 'string', default: '0' },
    history: { type: 'string' },
  },
});

/** How long the search for the fewest rules may take, in ms. */
const SHRINK_MS = 240_000;

const state = mkdtempSync(join(tmpdir(), 'poolkit-chaos-state-'));
process.env['XDG_STATE_HOME'] = state;
process.once('exit', () => rmSync(state, { recursive: true, force: true }));

// Without a listener a signal ends the process with no 'exit': servers would be left.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    runLastResort();
    process.exit(128 + constants.signals[signal]);
  });
}

const stormMs = number('storm', values.storm) * 1_000;
const workers = number('workers', values.workers);
const confirmations = number('confirm', values.confirm);
const untilMs = performance.now() + number('minutes', values.minutes) * 60_000;
const totals = { rounds: 0, calls: 0, answers: 0, failures: 0, cancels: 0, effects: 0, faults: 0, busy: 0, once: 0 };

let running = 0;
await watchLoop(() => running);

if (values.round !== undefined) {
  const seed = number('round', values.round);
  const all = makePlan(seed, stormMs);
  const kept = values.keep?.split(',').filter((each) => each !== '');
  const rules = kept === undefined ? all : kept.map((index) => all[Number(index)] as ChaosRule);
  await judge(seed, rules);
} else {
  const seeds = values.seed.map((seed) =>
    seed === 'fresh' ? Math.floor(Math.random() * 2 ** 32) : number('seed', seed),
  );
  console.log(`chaos: seed ${seeds.join(', ')}, ${values.minutes} minutes`);
  for (let round = 0; performance.now() < untilMs || round < seeds.length; round++) {
    const base = seeds[round % seeds.length] ?? 0;
    const seed = (base + Math.floor(round / seeds.length) * 0x9e3779b1) >>> 0;
    const rules = makePlan(seed, stormMs);
    if (!(await judge(seed, rules)) && !values['keep-going']) break;
  }
}
console.log(`chaos: ${JSON.stringify(totals)}`);
// What a guilty round left behind must not keep this process.
if (process.exitCode !== undefined) process.exit();

/** False when the round is guilty: then its shrunk plan was printed. */
async function judge(seed: number, rules: readonly ChaosRule[]): Promise<boolean> {
  running = seed;
  const result = await runRound({ seed, rules, stormMs, workers });
  report(seed, result);
  // A guilty round's history is kept beside the last one.
  const { ok } = result.verdict;
  if (values.history !== undefined) {
    writeFileSync(ok ? values.history : `${values.history}.${seed}`, String(result.history));
  }
  if (ok) return true;
  console.log(`\n${result.verdict}\n`);
  const guilty = new Set(result.verdict.violations.map(({ rule }) => rule));
  if (confirmations > 0 && !(await guiltyAgain(seed, rules, guilty))) {
    totals.once++;
    return true;
  }
  process.exitCode = 2;
  if (values['no-shrink']) return false;
  const endMs = performance.now() + SHRINK_MS;
  const fewest = await shrink(
    rules,
    async (subset) => {
      // What hangs on timing shows in one of two runs, or is taken for needed.
      for (let turn = 0; turn < 2 && performance.now() < endMs; turn++) {
        const { verdict } = await runRound({ seed, rules: subset, stormMs, workers });
        const fails = verdict.violations.some(({ rule }) => guilty.has(rule));
        console.log(`chaos: ${fails ? 'still guilty' : 'not guilty'} with ${subset.length} rules`);
        if (fails) return true;
      }
      return false;
    },
    () => performance.now() > endMs,
  );
  const all = makePlan(seed, stormMs);
  const places = fewest.map((rule) => all.findIndex((each) => JSON.stringify(each) === JSON.stringify(rule)));
  console.log(`\nchaos: guilty with ${fewest.length} of ${rules.length} rules:`);
  for (const rule of fewest) console.log(`  ${describeRule(rule)}`);
  console.log(`again: npm run chaos -- --round ${seed} --keep ${places.join(',')}`);
  return false;
}

async function guiltyAgain(seed: number, rules: readonly ChaosRule[], of: ReadonlySet<string>): Promise<boolean> {
  for (let run = 1; run <= confirmations; run++) {
    const { verdict } = await runRound({ seed, rules, stormMs, workers });
    const again = verdict.violations.some(({ rule }) => of.has(rule));
    console.log(`chaos: round ${seed}, run ${run} more: ${again ? 'guilty again' : 'not guilty of it'}`);
    if (again) return true;
  }
  console.log(`chaos: round ${seed} was GUILTY ONCE, and not in ${confirmations} runs more`);
  return false;
}

function report(seed: number, { verdict, tookMs, withheldMs, strained }: RoundResult): void {
  const { calls, answers, failures, cancels, effects, faults } = verdict.counts;
  totals.rounds++;
  if (strained) totals.busy++;
  for (const [name, count] of Object.entries({ calls, answers, failures, cancels, effects, faults })) {
    totals[name as keyof typeof totals] += count;
  }
  const state = verdict.ok ? 'not guilty' : 'GUILTY';
  const busy = strained
    ? `; the machine withheld ${Math.round(withheldMs)} ms: expected-answer and late were not asked`
    : '';
  console.log(
    `chaos: round ${seed}: ${state}, ${calls} calls, ${answers} answered, ${failures} failed, ${cancels} cancelled, ${effects} effects, ${(tookMs / 1_000).toFixed(1)} s${busy}`,
  );
}

function number(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  console.error(`--${name}: got ${text}, expected a number`);
  process.exit(1);
}
