import type { Clock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import {
  checkCount,
  checkFunction,
  checkMs,
  checkOneOf,
  checkRatio,
  checkText,
  withDefaults,
} from '../../core/options.js';
import type { BackoffOptions } from '../../core/time/backoff.js';
import {
  checkProcessOptions,
  type ManagedProcess,
  type ManagedProcessOptions,
  type SpawnConfig,
} from '../process/ManagedProcess.js';

/** When a started program counts as ready. */
export type Readiness =
  /** As soon as the system has started it. */
  | { readonly type: 'none' }
  /**
   * A line on its stdout holds this text or matches. The lines up to it are consumed; what follows is the reader's.
   * Lines are cut at 64 KiB.
   */
  | { readonly type: 'line'; readonly match: string | RegExp }
  /** A TCP connection can be made. Another listener there makes it ready too. */
  | { readonly type: 'port'; readonly port: number; readonly host?: string }
  /** This resolves; it rejects when the start has failed. */
  | {
      readonly type: 'check';
      readonly check: (process: ManagedProcess, context: { readonly signal: AbortSignal }) => Promise<unknown>;
    };

type ProcessTimes = Pick<
  ManagedProcessOptions,
  'stdinGraceMs' | 'termGraceMs' | 'killProofMs' | 'stderrMaxLines' | 'stderrMaxLineBytes' | 'stopSignal'
>;

const PROCESS_TIMES = Object.freeze({
  stdinGraceMs: true,
  termGraceMs: true,
  killProofMs: true,
  stderrMaxLines: true,
  stderrMaxLineBytes: true,
  stopSignal: true,
} as const satisfies Record<keyof ProcessTimes, true>);

/** One program to look after. */
export interface LifecycleConfig extends SpawnConfig, ProcessTimes {
  /** How it is called from then on. @defaultValue the name and a number */
  readonly id?: string;
  /** For people: errors, events and logs. */
  readonly name: string;
  /** `on-failure`: after an exit code other than 0, or a signal. @defaultValue 'never' */
  readonly restart?: 'never' | 'on-failure' | 'always';
  /**
   * Most restarts within any `restartWindowMs`, from 0 (none); then it has failed. `Infinity`: no bound.
   * @defaultValue 5
   */
  readonly maxRestarts?: number;
  /** The time over which restarts are counted, in ms; `Infinity` counts them for ever. @defaultValue 60000 */
  readonly restartWindowMs?: number;
  /**
   * The waits before restarts in a row, in ms: from `initialMs` (0 restarts at once) doubling to `maxMs`, less a share
   * left to chance of up to `jitterRatio`.
   * @defaultValue { initialMs: 200, maxMs: 30000, jitterRatio: 0.5 }
   */
  readonly backoff?: Partial<BackoffOptions>;
  /** A run of this many ms starts the waits from the first again. @defaultValue 10000 */
  readonly stableAfterMs?: number;
  /** When the program counts as ready. @defaultValue { type: 'none' } */
  readonly readiness?: Readiness;
  /**
   * How long it may take to be ready, in ms; then it is stopped and the start has failed. `Infinity`: no bound.
   * @defaultValue 30000
   */
  readonly readyTimeoutMs?: number;
  /** `discard`: read and thrown away. A `pipe` that is not read blocks its writer once full. @defaultValue 'pipe' */
  readonly stdout?: 'pipe' | 'discard';
}

export const LIFECYCLE_CONFIG_DEFAULTS = Object.freeze({
  restart: 'never' as const,
  maxRestarts: 5,
  restartWindowMs: 60_000,
  backoff: Object.freeze({ initialMs: 200, maxMs: 30_000, jitterRatio: 0.5 }) as BackoffOptions,
  stableAfterMs: 10_000,
  readiness: Object.freeze({ type: 'none' as const }),
  readyTimeoutMs: 30_000,
  stdout: 'pipe' as const,
});

export type FullLifecycleConfig = LifecycleConfig &
  Required<Pick<LifecycleConfig, keyof typeof LIFECYCLE_CONFIG_DEFAULTS>> & { readonly backoff: BackoffOptions };

export interface LifecycleManagerOptions {
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /**
   * Where a record of every child is kept, so that the next owner ends what this one could not: in the sub-folder
   * `processes` of `directory`. `false`: nowhere.
   * @defaultValue `$XDG_STATE_HOME/mcp-poolkit/processes`; a folder of the user's own under the system's temporary one
   * when that cannot be made
   */
  readonly ledger?: { readonly directory: string } | false;
  /** How often exits are looked for, statistics read and long-dead entries forgotten, in ms. @defaultValue 5000 */
  readonly reapIntervalMs?: number;
  /** How long an id stays known after its end, in ms; `Infinity`: until removed. @defaultValue 600000 */
  readonly forgetAfterMs?: number;
  /** Ids known at a time; the one longest dead makes room, else a start is refused. @defaultValue 1000 */
  readonly maxServers?: number;
  /** Where jitter comes from: 0 to below 1. @defaultValue Math.random */
  readonly random?: () => number;
}

export const LIFECYCLE_MANAGER_DEFAULTS = Object.freeze({
  reapIntervalMs: 5_000,
  forgetAfterMs: 600_000,
  maxServers: 1_000,
});

/** @throws OptionError */
export function checkConfig(given: LifecycleConfig): FullLifecycleConfig {
  const all = withDefaults('LifecycleConfig', given, LIFECYCLE_CONFIG_DEFAULTS, {
    id: true,
    name: true,
    command: true,
    args: true,
    env: true,
    cwd: true,
    inheritEnv: true,
    ...PROCESS_TIMES,
  });
  const backoff = withDefaults('backoff', all.backoff, LIFECYCLE_CONFIG_DEFAULTS.backoff, {});
  const config: FullLifecycleConfig = { ...all, backoff };
  checkText('name', config.name);
  checkText('command', config.command);
  if (config.id !== undefined) checkText('id', config.id);
  checkOneOf('restart', config.restart, ['never', 'on-failure', 'always']);
  checkCount('maxRestarts', config.maxRestarts, { infinity: true });
  checkMs('restartWindowMs', config.restartWindowMs, { infinity: true });
  checkMs('backoff.initialMs', config.backoff.initialMs);
  checkMs('backoff.maxMs', config.backoff.maxMs);
  checkRatio('backoff.jitterRatio', config.backoff.jitterRatio);
  checkMs('stableAfterMs', config.stableAfterMs, { infinity: true });
  checkMs('readyTimeoutMs', config.readyTimeoutMs, { infinity: true });
  checkOneOf('stdout', config.stdout, ['pipe', 'discard']);
  checkReadiness(config.readiness);
  checkProcessOptions(processTimes(config));
  return config;
}

/** The part of a program's config that its process runs by. */
export function processTimes(config: ProcessTimes): ProcessTimes {
  const names = Object.keys(PROCESS_TIMES) as (keyof ProcessTimes)[];
  return Object.fromEntries(names.map((name) => [name, config[name]]));
}

function checkReadiness(readiness: Readiness): void {
  switch (readiness.type) {
    case 'none':
      return;
    case 'line':
      if (!(readiness.match instanceof RegExp)) checkText('readiness.match', readiness.match);
      return;
    case 'port':
      checkCount('readiness.port', readiness.port, { min: 1, max: 65_535 });
      return;
    case 'check':
      checkFunction('readiness.check', readiness.check);
      return;
    default:
      throw new OptionError('readiness', readiness, "an object with a type of 'none', 'line', 'port' or 'check'");
  }
}
