import { Random } from './random.js';
import { CALL_FAULTS, START_FAULTS } from './servers/faults.js';

/** Where a server of the run stands: which pool has it, what it is. */
export interface ServerSpec {
  readonly name: string;
  readonly pool: 'stdio' | 'http' | 'sse' | 'unified';
  readonly kind: 'stdio' | 'sessions' | 'modern' | 'sse';
  readonly era: 'legacy' | 'modern';
  readonly sharing: 'shared' | 'leased' | 'bound';
  /** The name its upstream has, which hosts it. */
  readonly web?: string;
}

/** Four pools, both eras, every way of sharing; those of `unified` stand behind the gateway. */
export const SERVERS: readonly ServerSpec[] = [
  { name: 'files', pool: 'stdio', kind: 'stdio', era: 'legacy', sharing: 'shared' },
  { name: 'notes', pool: 'stdio', kind: 'stdio', era: 'legacy', sharing: 'bound' },
  { name: 'shell', pool: 'stdio', kind: 'stdio', era: 'legacy', sharing: 'leased' },
  { name: 'fresh', pool: 'stdio', kind: 'stdio', era: 'modern', sharing: 'shared' },
  { name: 'issues', pool: 'http', kind: 'sessions', era: 'legacy', sharing: 'shared', web: 'web1' },
  { name: 'desk', pool: 'http', kind: 'sessions', era: 'legacy', sharing: 'bound', web: 'web2' },
  { name: 'search', pool: 'http', kind: 'modern', era: 'modern', sharing: 'shared', web: 'web2' },
  { name: 'stream', pool: 'sse', kind: 'sse', era: 'legacy', sharing: 'shared', web: 'web1' },
  { name: 'inner', pool: 'unified', kind: 'stdio', era: 'legacy', sharing: 'shared' },
  { name: 'mine', pool: 'unified', kind: 'stdio', era: 'legacy', sharing: 'bound' },
  { name: 'remote', pool: 'unified', kind: 'sessions', era: 'legacy', sharing: 'shared', web: 'web2' },
];

/** One member of a plan: what shrinking leaves out or keeps. */
export type ChaosRule =
  /** Every so many calls to a server go wrong so. */
  | { readonly kind: 'fault'; readonly server: string; readonly fault: string; readonly every: number }
  /** Every so many starts of a server's process go wrong so, while the storm lasts. */
  | { readonly kind: 'start'; readonly server: string; readonly fault: string; readonly every: number }
  /** At a time of the storm something is done. */
  | { readonly kind: 'act'; readonly act: Act; readonly target: string; readonly atMs: number };

export type Act =
  | 'kill'
  | 'freeze'
  | 'restart'
  | 'stop'
  | 'remove'
  | 'apply'
  | 'web-down'
  | 'redis-down'
  | 'redis-freeze'
  | 'roll'
  | 'release-key'
  | 'burst';

const ACTS: readonly { readonly act: Act; readonly targets: () => readonly string[] }[] = [
  { act: 'kill', targets: () => named(({ kind }) => kind === 'stdio') },
  { act: 'freeze', targets: () => named(({ kind }) => kind === 'stdio') },
  { act: 'restart', targets: () => named(() => true) },
  { act: 'stop', targets: () => named(() => true) },
  { act: 'remove', targets: () => named(({ pool }) => pool !== 'unified') },
  { act: 'apply', targets: () => ['stdio', 'http', 'sse', 'unified'] },
  { act: 'web-down', targets: () => ['web1', 'web2'] },
  { act: 'redis-down', targets: () => ['redis'] },
  { act: 'redis-freeze', targets: () => ['redis'] },
  { act: 'roll', targets: () => ['stdio', 'http', 'sse', 'gateway'] },
  { act: 'release-key', targets: () => named(({ sharing }) => sharing === 'bound') },
  { act: 'burst', targets: () => named(() => true) },
];

function named(is: (spec: ServerSpec) => boolean): string[] {
  return SERVERS.filter(is).map(({ name }) => name);
}

/** What goes wrong in one round, all of it from the seed. */
export function makePlan(seed: number, stormMs: number): ChaosRule[] {
  const random = new Random(seed);
  const rules: ChaosRule[] = [];
  for (const { name, kind } of SERVERS) {
    for (let count = random.whole(1, 3); count > 0; count--) {
      rules.push({ kind: 'fault', server: name, fault: random.pick(CALL_FAULTS[kind]), every: random.whole(6, 40) });
    }
    if (kind === 'stdio' && random.chance(0.4)) {
      rules.push({ kind: 'start', server: name, fault: random.pick(START_FAULTS), every: random.whole(2, 5) });
    }
  }
  for (let count = random.whole(6, 12); count > 0; count--) {
    const { act, targets } = random.pick(ACTS);
    rules.push({ kind: 'act', act, target: random.pick(targets()), atMs: random.whole(200, stormMs) });
  }
  return rules;
}

export function describeRule(rule: ChaosRule): string {
  switch (rule.kind) {
    case 'fault':
      return `every ${rule.every}th call to ${rule.server}: ${rule.fault}`;
    case 'start':
      return `every ${rule.every}th start of ${rule.server}: ${rule.fault}`;
    case 'act':
      return `at ${rule.atMs} ms: ${rule.act} ${rule.target}`;
  }
}
