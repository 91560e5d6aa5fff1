import type { ServerNotice, ServerRequest } from '../connection/protocol/messages.js';
import type { PoolkitError } from '../core/errors.js';
import type { SpreadStats, TargetStats } from '../targets/stats/groupStats.js';
import type { ServerFigures } from '../targets/stats/ServerFigures.js';

/** `degraded`: the breaker is open or the server backs off after failing. */
export type ServerState = 'idle' | 'starting' | 'ready' | 'degraded' | 'stopping' | 'stopped' | 'failed';

export interface StartReport {
  readonly started: readonly string[];
  readonly failed: readonly { readonly name: string; readonly error: PoolkitError }[];
}

export interface ApplyReport {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly restarted: readonly string[];
  readonly unchanged: readonly string[];
  /** Of several targets, some of which came or went, or whose calls are spread otherwise; the other targets go on as they are. */
  readonly updated?: readonly string[];
}

/** One server at one moment. Counters count from the moment the server was added. */
export interface ServerStats extends ServerFigures<ServerState> {
  /** Of a server with several targets, each of them; mirror, canary and those being drained, too. */
  readonly targets?: readonly TargetStats[];
  /** Of a server with several targets, how its calls are spread. */
  readonly spread?: SpreadStats;
}

/** What a pool holds, waits for and has counted, fit for a debug page: no caller's name, key or context is in it. */
export interface PoolInspection {
  readonly name: string;
  readonly closing: boolean;
  readonly servers: readonly ServerStats[];
  /** Servers that were removed or replaced, and are not gone yet. */
  readonly leaving: number;
  /** Connections that are up, coming or going, of the whole pool. */
  readonly connections: number;
  readonly maxConnectionsTotal: number;
  /** Of one server whose config does not say. */
  readonly maxConnections: number;
  /** Starts that wait because the whole pool is at `maxConnectionsTotal`. */
  readonly waitingForConnection: number;
}

/** Why a connection took another's place: its process exited or was killed, the connection broke, or `restartServer` was called. */
export type RestartReason = 'exited' | 'killed' | 'disconnected' | 'requested';

/** Of a server with several targets: which of them it is, by its id in the stats. */
interface OfTarget {
  readonly target?: string;
}

export interface PoolEvents {
  readonly state: { readonly server: string; readonly state: ServerState; readonly previous: ServerState };
  /** A connection is up, besides so many `others` of its server and principal; `principal`: whose it is, where it is someone's. */
  readonly started: OfTarget & {
    readonly server: string;
    readonly pid: number | undefined;
    readonly others: number;
    readonly startMs: number;
    readonly principal?: string | undefined;
  };
  readonly exited: OfTarget & {
    readonly server: string;
    readonly pid: number | undefined;
    readonly exitCode: number | null;
    readonly signal: string | null;
    readonly expected: boolean;
    readonly reason: string;
    /** From its start, in ms. */
    readonly livedMs: number;
  };
  readonly restarted: OfTarget & { readonly server: string; readonly attempt: number; readonly reason: RestartReason };
  /** A breaker of the server opened, closed or tries a call; `scope` is what one breaker is for (`breakerScope`). */
  readonly breaker: OfTarget & {
    readonly server: string;
    readonly state: 'closed' | 'open' | 'half-open';
    readonly scope: 'server' | 'principal' | 'tool';
  };
  /** `apply` put other servers in place; those that go may still be ending. */
  readonly applied: ApplyReport;
  readonly stderr: OfTarget & { readonly server: string; readonly pid: number | undefined; readonly line: string };
  /** A notification that belongs to no call; of the connection of this principal and session, for no other. */
  readonly notification: {
    readonly server: string;
    readonly principal?: string | undefined;
    readonly key?: string | undefined;
    readonly notice: ServerNotice;
    /** Whether calls are in flight on the connection that it came on: else it is about none of those in flight. */
    readonly busy?: boolean | undefined;
  };
  /** A request of the server that belongs to no call. The first listener to `respond` answers it. */
  readonly orphanRequest: {
    readonly server: string;
    readonly principal?: string | undefined;
    readonly key?: string | undefined;
    readonly request: ServerRequest;
    readonly signal: AbortSignal;
    readonly respond: (answer: Promise<unknown>) => void;
  };
  /**
   * The connection of a `bound` session ended, and what the server kept for the session with it: by its death, a restart
   * or idling. The next call of that key gets a new connection. Not told after `releaseKey`.
   */
  readonly sessionLost: {
    readonly server: string;
    readonly principal: string | undefined;
    readonly key: string | undefined;
    readonly reason: string;
  };
  readonly leaked: OfTarget & { readonly server: string; readonly heldMs: number; readonly stack: string | undefined };
}
