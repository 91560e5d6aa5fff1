/** What a call of a benchmark is told. */
export interface Turn {
  /** Counts up over the whole run; no two calls share one. */
  readonly number: number;
  /** Aborts when the run is stopped hard. */
  readonly signal: AbortSignal;
  /** Reports an event of the call, such as one progress notification. */
  readonly onEvent: () => void;
  /** Reports how long the call waited for a connection, in ms. */
  readonly onWaited: (ms: number) => void;
  /** Reports how long the server itself took, in ms, where the answer says so. */
  readonly onServed: (ms: number) => void;
}

/** One thing a load does again and again. It resolves only when the answer was right; it checks that by itself. */
export interface Operation {
  readonly name: string;
  run(turn: Turn): Promise<void>;
}

/** An answer that came, but is not the right one. */
export class WrongAnswerError extends Error {
  readonly code = 'WRONG_ANSWER';
  constructor(why: string) {
    super(`wrong answer: ${why}`);
    this.name = 'WrongAnswerError';
  }
}

/** The class of a failure, as it is counted: its code, or its name. */
export function failureClass(error: unknown): string {
  if (typeof error === 'object' && error !== null) {
    const { code, name, rpcCode } = error as { code?: unknown; name?: unknown; rpcCode?: unknown };
    if (code === 'ERR_RPC' && typeof rpcCode === 'number') return `ERR_RPC ${rpcCode}`;
    if (typeof code === 'string') return code;
    if (typeof name === 'string') return name;
  }
  return 'unknown';
}
