/** What is counted of a server, and of each of its targets, in which `State`. */
export interface ServerFigures<State extends string> {
  readonly name: string;
  readonly state: State;
  /** Calls handed to a wire, handshakes and pings included. */
  readonly calls: number;
  /** Failed calls by error code, calls that were never sent included. */
  readonly errors: Readonly<Record<string, number>>;
  readonly inFlight: number;
  readonly queued: number;
  readonly connections: number;
  /** Of answered calls, in ms from send to answer. Undefined while there were none. */
  readonly latencyMs: { readonly p50: number; readonly p90: number; readonly p99: number } | undefined;
  /** Starts in the place of a connection that died by itself, and those of `restartServer`. */
  readonly restarts: number;
  /** Milliseconds until the next try, while backing off. */
  readonly backoffMs: number | undefined;
  readonly breaker: 'closed' | 'open' | 'half-open';
  readonly lastError: string | undefined;
  readonly pids: readonly number[];
  /** Resident memory of its process groups; undefined where there is none or it is not known yet. */
  readonly memoryBytes: number | undefined;
  readonly unsentBytes: number;
  /** Replies that came after their call had settled. */
  readonly lateReplies: number;
  readonly garbageLines: number;
  /** Requests of the server that belonged to no caller. */
  readonly orphanRequests: number;
  /** Epoch ms of the newest start; undefined while it has none. */
  readonly startedAt: number | undefined;
  /** With `maxConcurrent: 'auto'`, how many calls it is found to take at a time; of several targets, all of them together. */
  readonly limit?: number;
}
