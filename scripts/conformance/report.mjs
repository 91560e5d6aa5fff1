// The table of docs/conformance.md, out of what the runs gave.
import { SETS } from './suites.mjs';

const sum = (scenarios) => [...scenarios.values()].reduce((total, { passed }) => total + passed, 0);
const scoredOf = (scenarios) => [...scenarios.values()].filter(({ scored }) => scored);
const whole = (scenarios) => scoredOf(scenarios).filter(({ failed }) => failed.length === 0).length;

/** Where fewer scenarios pass than `page` says. */
export function fewerThan(page, results) {
  return [...results].flatMap(([cell, sets]) => {
    const row = page.split('\n').find((line) => line.startsWith(`| ${cell} |`));
    const told =
      row
        ?.split('|')
        .slice(2)
        .map((text) => Number(/\((\d+) of/.exec(text)?.[1] ?? 0)) ?? [];
    return SETS.flatMap(({ name }, index) => {
      const scenarios = sets.get(name);
      const now = scenarios === undefined ? told[index] : whole(scenarios);
      return now < (told[index] ?? 0) ? [`${cell}, ${name}: ${now} scenarios pass, the page says ${told[index]}`] : [];
    });
  });
}

/** `results`: by cell and set, the scenarios of a run. `reasons`: by cell, why it cannot pass what passes straight. */
export function report(results, reasons) {
  const lines = [
    '# Conformance',
    '',
    'Made by `npm run conformance`: the official suite `@modelcontextprotocol/conformance`, 0.1.16 and 0.2.0-alpha.12',
    '(requirement sets 2025-11-25 and 2026-07-28). A cell has the checks that passed, and of the scenarios that the set scores,',
    'those of which no check failed. `test/conformance.test.ts` runs a few of the cells with the other tests, `.ci/conformance` all.',
    '',
    '## Servers',
    '',
    '*Straight* is the test server `test/fixtures/dual-era/server.mjs` itself; the other rows are that server through the gateway.',
    '',
    ...table([...results].filter(([cell]) => !isClient(cell))),
    '',
    '`server-sse-multiple-streams` and `server-sse-polling` count the events of a stream as checks where there is one. Through the',
    'gateway an answer that comes at once is plain JSON, so that one of the former and the three of the latter do not apply; none fails.',
    '',
    '## Clients',
    '',
    "The suite's servers, with the SDK's client straight at them and through the gateway. The scenarios of authorization are not run: a",
    "client's token is for the gateway and passes no further, so that a server and the gateway settle theirs between them.",
    '',
    ...table([...results].filter(([cell]) => isClient(cell))),
    '',
    'The lists of `/mcp` are asked for all clients alike: the three checks of `request-metadata` that look at the capabilities of a',
    'client in a list do not apply there; none fails.',
  ];
  const missing = [...results].flatMap(([cell, sets]) =>
    missingIn(cell, sets, results.get(isClient(cell) ? 'client straight' : 'straight')),
  );
  lines.push('', '## What passes straight and not through', '');
  if (missing.length === 0) lines.push('Nothing.');
  for (const { cell, set, names } of missing) {
    const why = reasons.find((each) => each.cell.test(cell) && each.set.test(set))?.why;
    lines.push(`- **${cell}**, ${set}: ${names.map((name) => `\`${name}\``).join(', ')}.${why ? ` ${why}` : ''}`);
  }
  return `${lines.join('\n')}\n`;
}

const isClient = (cell) => cell.startsWith('client');

function table(results) {
  const rows = results.map(([cell, sets]) => {
    const figures = SETS.map(({ name }) => {
      const scenarios = sets.get(name);
      return scenarios === undefined ? '' : `${sum(scenarios)} (${whole(scenarios)} of ${scoredOf(scenarios).length})`;
    });
    return `| ${cell} | ${figures.join(' | ')} |`;
  });
  return [`| through | ${SETS.map(({ name }) => name).join(' | ')} |`, `|---|${'---|'.repeat(SETS.length)}`, ...rows];
}

function missingIn(cell, sets, straight) {
  if (straight === undefined || cell.endsWith('straight')) return [];
  return [...sets].flatMap(([set, scenarios]) => {
    const names = [...(straight.get(set) ?? [])]
      .filter(([name, { failed }]) => failed.length === 0 && (scenarios.get(name)?.failed.length ?? 1) > 0)
      .map(([name]) => name);
    return names.length === 0 ? [] : [{ cell, set, names }];
  });
}
