// Runs the official clients through all steps, straight at a server of both eras and through the gateway in every way it
// can be had, compares what they saw field by field, and writes the table of docs/clients.md. `--client=TEXT` runs the
// clients whose name holds TEXT and writes nothing; `--install` gets the Inspector, mcp-remote and the Node they need;
// `--real` waits 320 s for the call that lasts so long, where otherwise a clock runs twenty times as fast.
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../../../src/core/clock.js';
import { compare, type Difference } from './compare.js';
import type { ClientKind } from './Face.js';
import { INSPECTORS, type Inspector } from './kinds/inspector.js';
import { MCP_REMOTE } from './kinds/mcpRemote.js';
import { INSTALL, programsAreThere } from './kinds/programs.js';
import { SDK_V1 } from './kinds/sdkV1.js';
import { SDK_V2 } from './kinds/sdkV2.js';
import { report } from './report.js';
import { LASTING, type Run, runLasting, runSteps } from './run.js';
import type { Outcome } from './steps.js';
import { startTargets, type Target, type Targets } from './targets.js';

/** How many times as fast the clock of the calls that last runs, and the client's patience with it. */
const SPEED = 20;
const PATIENCE_MS = 300_000;

const flags = new Map(
  process.argv.slice(2).map((flag) => {
    const [name = '', value = ''] = flag.replace(/^--/, '').split('=');
    return [name, value] as const;
  }),
);
const real = flags.has('real');
if (!programsAreThere(flags.has('install'))) {
  console.error(
    `The Inspector and mcp-remote are not here; they need Node 22 or newer, which this brings along:\n\n  ${INSTALL}\n`,
  );
  process.exit(2);
}

const clock = {
  now: () => systemClock.now() * SPEED,
  wallNow: () => systemClock.wallNow(),
  setTimer: (callback: () => void, delayMs: number, options?: { readonly ref?: boolean }) =>
    systemClock.setTimer(callback, delayMs / SPEED, options),
};

type Kind = ClientKind | Inspector;
const isInspector = (kind: Kind): kind is Inspector => 'run' in kind;
const isLasting = (step: string): boolean => (LASTING as readonly string[]).includes(step);
const log = (line: string): void => void process.stderr.write(`${line}\n`);

function quick(kind: Kind, target: Target): Promise<Run> {
  const context = { label: `${kind.name}, ${target.name}`, pass: async () => undefined };
  return isInspector(kind) ? kind.run(target, (step) => !isLasting(step)) : runSteps(kind, target, context);
}

let last: Promise<unknown> = Promise.resolve();
const oneByOne = <T>(work: () => Promise<T>): Promise<T> => {
  const mine = last.then(work);
  last = mine.catch(() => undefined);
  return mine;
};

async function lasting(kind: Kind, target: Target): Promise<Run> {
  if (isInspector(kind)) return kind.run(target, isLasting);
  const label = `${kind.name}, ${target.name}`;
  const whole = { label, pass: (_: unknown, ms: number) => sleep(ms), slow: false, oneByOne };
  const fast = {
    label,
    pass: (_: unknown, ms: number) => sleep(ms / SPEED),
    slow: true,
    oneByOne,
    silenceMs: PATIENCE_MS / SPEED,
  };
  const runs = await Promise.all([
    runLasting('silent for 75 s', kind, target, whole),
    runLasting('silent for 320 s', kind, target, real ? whole : fast),
  ]);
  return new Map(runs.flatMap((run) => [...run]));
}

interface Ran {
  readonly kind: Kind;
  readonly targets: Targets;
  readonly runs: Map<string, Map<string, Outcome>>;
}

const kinds: Kind[] = [SDK_V1, ...SDK_V2, ...INSPECTORS, MCP_REMOTE];
const wanted = kinds.filter(({ name }) => name.includes(flags.get('client') ?? ''));
const all: Ran[] = [];
for (const kind of wanted) {
  const targets = await startTargets(clock);
  const runs: Ran['runs'] = new Map();
  await Promise.all(
    [targets.straight, ...targets.through].map(async (target) => {
      runs.set(target.name, new Map(await quick(kind, target)));
    }),
  );
  log(kind.name);
  all.push({ kind, targets, runs });
}
log(`now the calls that last: ${real ? 320 : 75} s`);
await Promise.all(
  all.flatMap(({ kind, targets, runs }) =>
    [targets.straight, ...targets.through].map(async (target) => {
      for (const [step, outcome] of await lasting(kind, target)) runs.get(target.name)?.set(step, outcome);
    }),
  ),
);
await Promise.all(all.map(({ targets }) => targets.close()));

const found = new Map<string, Map<string, readonly Difference[]>>();
for (const { kind, targets, runs } of all) {
  const straight: Run = runs.get('straight') ?? new Map();
  const through = targets.through.map(({ name }): [string, Run] => [name, runs.get(name) ?? new Map()]);
  found.set(kind.name, new Map(through.map(([name, run]) => [name, compare(kind.name, name, straight, run)])));
}
const page = report(
  all.map(({ kind, runs }) => ({ client: kind.name, straight: runs.get('straight') ?? new Map() })),
  found,
  real,
);
console.log(page);
if (!flags.has('client')) writeFileSync('docs/clients.md', page);
const unexplained = [...found].flatMap(([client, by]) =>
  [...by].flatMap(([target, differences]) =>
    differences
      .filter(({ why }) => why === undefined)
      .map(({ step, what }) => `${client}, ${target}, ${step}: ${what}`),
  ),
);
for (const line of unexplained) console.error(line);
process.exit(unexplained.length === 0 ? 0 : 1);
