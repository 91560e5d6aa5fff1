import type { Worker } from 'node:cluster';

/** What Node's cluster sends with a connection, as far as it is looked at, and how a worker says that it has taken it. */
interface Handing {
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
}

/**
 * Closes the connections that were handed to a worker and not taken when it is gone: Node forgets them open, so that their clients would
 * wait for ever, and this process would keep a descriptor for each.
 */
export function closeUntaken(worker: Worker): void {
  const child = worker.process;
  const untaken = new Map<number, { close(): void }>();
  const send = child.send as (...args: unknown[]) => boolean;
  Reflect.set(
    child,
    'send',
    (message: Handing | undefined, handle?: { close(): void }, ...rest: unknown[]): boolean => {
      if (message?.act === 'newconn' && message.seq !== undefined && handle) untaken.set(message.seq, handle);
      return Reflect.apply(send, child, [message, handle, ...rest]);
    },
  );
  child.on('internalMessage', ({ ack }: Handing) => {
    if (ack !== undefined) untaken.delete(ack);
  });
  // Not `disconnect`: it does not come while one of them waits to be taken.
  worker.once('exit', () => {
    for (const handle of untaken.values()) handle.close();
    untaken.clear();
  });
}
