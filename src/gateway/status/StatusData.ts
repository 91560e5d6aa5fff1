/** One server as the page, `mcp-poolkit status` and `top` show it. Nothing of a caller is in it. */
export interface ServerRow {
  readonly name: string;
  readonly state: string;
  readonly transport: string;
  readonly era: string | null;
  readonly protocolVersion: string | null;
  readonly connections: number;
  readonly inFlight: number;
  readonly waiting: number;
  /** Calls that ended, and those of them that failed, since the gateway began. */
  readonly calls: number;
  readonly errors: number;
  readonly retries: number;
  /** Of the last 5 seconds in which there were answers; since its start before. In ms. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly restarts: number;
  readonly breaker: string;
  readonly memory: number | null;
  readonly pids: readonly number[];
  readonly lateReplies: number;
  readonly startedAt: number | null;
  readonly backoffMs: number | null;
  readonly lastError: string | null;
  /** Of a server with several. */
  readonly targets?: readonly TargetRow[];
}

/** One of several targets of a server. */
export interface TargetRow {
  readonly id: string;
  /** `target`, `mirror`, `canary` or `draining`. */
  readonly role: string;
  readonly state: string;
  readonly zone: string | null;
  readonly weight: number;
  readonly picked: number;
  readonly inFlight: number;
  /** Milliseconds for which it is left alone; 0 while it gets calls. */
  readonly backInMs: number;
  /** Share of its weight that it gets. */
  readonly share: number;
  /** Quantiles of its answered calls, in ms. */
  readonly p50: number | null;
  readonly p99: number | null;
  /** What the balance goes by, in ms: failures count as slow answers. */
  readonly ewmaMs: number | null;
  readonly breaker: string;
}

/** A request of a client that is not answered yet. */
export interface OpenCall {
  readonly id: string;
  readonly method: string;
  readonly target: string | null;
  readonly era: string;
  readonly ageMs: number;
  /** Where it is: servers, each with whether the call was sent there. */
  readonly at: readonly { readonly server: string; readonly sent: boolean; readonly attempt: number }[];
}

export interface StatusSnapshot {
  readonly at: number;
  readonly version: string;
  readonly startedAt: number;
  readonly gateway: {
    readonly sessions: number;
    readonly streams: number;
    readonly inFlight: number;
    readonly requests: number;
    readonly refused: number;
    readonly droppedNotices: number;
    readonly heldBytes: number;
    readonly refusing: boolean;
  };
  readonly process: { readonly pid: number; readonly memory: number; readonly delayP99: number };
  readonly servers: readonly ServerRow[];
  readonly open: readonly OpenCall[];
  /** Open ones that are not in the list: it has the oldest. */
  readonly openMore: number;
}

/** One look at one server: what came in since the look before, and what it has now. Short names: a page gets many. */
export interface Point {
  /** Calls and failures a second. */
  readonly calls: number;
  readonly errors: number;
  readonly p50: number | null;
  readonly p99: number | null;
  readonly inFlight: number;
  readonly waiting: number;
  readonly memory: number | null;
}

/** What happened, as the page shows it. */
export interface TimelineEvent {
  /** Counts up. */
  readonly id: number;
  /** Epoch ms. */
  readonly at: number;
  readonly kind: 'started' | 'ended' | 'crashed' | 'restarted' | 'state' | 'breaker' | 'config' | 'leak' | 'operator';
  readonly server: string | null;
  readonly text: string;
}

/** All that a page gets when it opens, and `/status/data.json` answers. */
export interface StatusData {
  readonly snapshot: StatusSnapshot;
  readonly history: {
    /** Epoch ms of the looks, oldest first. */
    readonly times: readonly number[];
    readonly servers: Readonly<Record<string, readonly (Point | null)[]>>;
  };
  /** Oldest first. */
  readonly events: readonly TimelineEvent[];
}
