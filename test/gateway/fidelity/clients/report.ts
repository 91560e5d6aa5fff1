import { type Difference, REASONS } from './compare.js';
import type { Run } from './run.js';
import { type Outcome, STEPS } from './steps.js';

export interface StraightRun {
  readonly client: string;
  readonly straight: Run;
}

/** Whether the client got what it asked for: a step with an error in it passes no better straight. */
const passed = (outcome: Outcome | undefined): boolean => outcome !== undefined && 'value' in outcome;

/** The page with the table. `found`: by client and target, what differs. */
export function report(
  runs: readonly StraightRun[],
  found: ReadonlyMap<string, ReadonlyMap<string, readonly Difference[]>>,
  real: boolean,
): string {
  const targets = [...(found.values().next().value?.keys() ?? [])];
  const used = new Map<string, number>();
  const lines = [
    '# Official clients',
    '',
    'Made by `npm run clients`. Each client takes the steps below, straight at a server of both eras on the SDK',
    '(`test/fixtures/dual-era/server.mjs`) and through the gateway in front of it, and what it saw is compared field by field:',
    'results, errors with code and data, notifications, what it was asked. A cell has the steps that are the same of those the',
    'client can take; a number in brackets is a difference that is meant, with its reason below. A short form is in the tests:',
    '`test/gateway/fidelity/clients.test.ts`.',
    '',
    `The 75 s are real. The 320 s are ${real ? 'real, too' : 'on a clock twenty times as fast, with the client’s patience of 300 s as much shorter (`npm run clients -- --real` waits for them)'}.`,
    '',
    `| client | ${targets.join(' | ')} |`,
    `|---|${'---|'.repeat(targets.length)}`,
  ];
  for (const { client, straight } of runs) {
    const cells = targets.map((target) => {
      const differences = found.get(client)?.get(target) ?? [];
      const steps = new Set(differences.map(({ step }) => step));
      const notes = [...new Set(differences.map(({ why }) => why ?? 'NOT EXPLAINED'))];
      for (const note of notes) if (!used.has(note)) used.set(note, used.size + 1);
      const marks = notes.map((note) => `[${used.get(note)}]`).join(' ');
      return `${straight.size - steps.size} of ${straight.size} ${marks}`.trim();
    });
    lines.push(`| ${client} | ${cells.join(' | ')} |`);
  }
  lines.push('', '## Differences that are meant', '');
  for (const [why, number] of used) lines.push(`${number}. ${why[0]?.toUpperCase()}${why.slice(1)}.`);
  const unused = REASONS.filter(({ why }) => !used.has(why));
  if (used.size === 0) lines.push('None.');
  if (unused.length > 0) lines.push('', `Reasons that no run needed: ${unused.length}.`);
  lines.push('', '## Steps', '', `| step | ${runs.map(({ client }) => client).join(' | ')} |`);
  lines.push(`|---|${'---|'.repeat(runs.length)}`);
  for (const { name } of STEPS) {
    const cells = runs.map(({ straight }) =>
      !straight.has(name) ? '–' : passed(straight.get(name)) ? 'yes' : 'refused',
    );
    lines.push(`| ${name} | ${cells.join(' | ')} |`);
  }
  lines.push(
    '',
    'Straight: *yes* is that the step ends well, *refused* that it fails by what its era leaves out, – that the client has no such command.',
  );
  return `${lines.join('\n')}\n`;
}
