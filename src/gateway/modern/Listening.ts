/** What a client wants to be told of, in the words of the wire (2026-07-28, subscriptions). */
export interface ListenFilter {
  readonly toolsListChanged?: boolean;
  readonly promptsListChanged?: boolean;
  readonly resourcesListChanged?: boolean;
  readonly resourceSubscriptions?: readonly string[];
}

/** What an endpoint agreed to tell, until it ends. */
export interface Listening {
  readonly filter: ListenFilter;
  /** Resolves when it is over. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

/** One that ends with its signal alone; `onEnd` is called once. */
export function untilAborted(
  filter: ListenFilter,
  signal: AbortSignal,
  onEnd: () => void = () => undefined,
): Listening {
  let end!: () => void;
  const ended = new Promise<void>((resolve) => {
    end = () => {
      signal.removeEventListener('abort', end);
      onEnd();
      resolve();
    };
  });
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
  const close = async (): Promise<void> => end();
  return { filter, ended, close };
}
