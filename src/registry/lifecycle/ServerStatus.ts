import type { ServerRef } from './events.js';
import type { ServerStateTag } from './state.js';
import type { ServerUsage } from './usage.js';

/** A server as it is at one moment. */
export interface ServerStatus extends ServerRef {
  readonly state: ServerStateTag;
  /** Of the process that runs, or ran last. */
  readonly pid: number | undefined;
  /** Milliseconds since the epoch. */
  readonly startedAt: number | undefined;
  /** Since the start of the process that runs; 0 when none does. */
  readonly uptimeMs: number;
  /** Starts after the first, asked for or not, counted when they begin. */
  readonly restarts: number;
  /** Of the last exit; undefined before it. */
  readonly exitCode: number | null | undefined;
  readonly signal: NodeJS.Signals | null | undefined;
  readonly lastError: unknown;
  /** As last sampled, by the reaper or `refresh`; undefined until then and when nothing runs. */
  readonly usage: ServerUsage | undefined;
  /** The last lines of stderr, oldest first. */
  readonly stderr: readonly string[];
}
