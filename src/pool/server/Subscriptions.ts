import type { Connection } from '../../connection/Connection.js';
import type { ServerNotice } from '../../connection/messages.js';
import { CircuitOpenError, messageOf } from '../../core/errors.js';
import type { Subscription, SubscriptionFilter } from '../McpPool.js';
import type { ServerContext } from './context.js';
import type { Partition } from './Partition.js';

/** How long an attempt to take subscriptions up again waits after one that failed. */
const RETRY_MS = 1_000;

const LIST_CHANGED = {
  toolsListChanged: 'notifications/tools/list_changed',
  promptsListChanged: 'notifications/prompts/list_changed',
  resourcesListChanged: 'notifications/resources/list_changed',
} as const;

type Stream = Omit<Subscription, typeof Symbol.asyncDispose>;

interface Open {
  readonly partition: Partition;
  readonly filter: SubscriptionFilter;
  readonly onNotification: (notice: ServerNotice) => void;
  /** The server's own stream for it, in the modern era. */
  stream: Stream | undefined;
  readonly end: () => void;
}

/**
 * What callers of one server subscribed to. Legacy: URIs are counted per partition, so that the first asks the server
 * and the last one gives it back; updates go to those who asked for that URI and to nobody of another partition.
 * Modern: each is a `subscriptions/listen` of its own. No slot is held; after a reconnect all are taken up again.
 */
export class Subscriptions {
  readonly #context: ServerContext;
  readonly #open = new Set<Open>();
  readonly #retries = new Map<Partition, Disposable>();

  constructor(context: ServerContext) {
    this.#context = context;
  }

  has(partition: Partition): boolean {
    for (const open of this.#open) if (open.partition === partition) return true;
    return false;
  }

  /** Subscribes over `connection`, a live one of `partition`. @throws what the server answered. */
  async add(
    partition: Partition,
    connection: Connection,
    filter: SubscriptionFilter,
    onNotification: (notice: ServerNotice) => void,
    signal: AbortSignal | undefined,
  ): Promise<Subscription> {
    let resolveEnded!: () => void;
    const ended = new Promise<void>((resolve) => {
      resolveEnded = resolve;
    });
    const open: Open = { partition, filter, onNotification, stream: undefined, end: resolveEnded };
    const fresh = (filter.resourceUris ?? []).filter((uri) => !this.#watches(partition, uri));
    this.#open.add(open);
    try {
      await this.#ask(open, connection, fresh);
    } catch (error) {
      this.#open.delete(open);
      resolveEnded();
      throw error;
    }
    const close = async (): Promise<void> => {
      signal?.removeEventListener('abort', onAbort);
      await this.#close(open);
    };
    const onAbort = (): void => void close();
    if (signal?.aborted === true) await close();
    else signal?.addEventListener('abort', onAbort, { once: true });
    return { ended, close, [Symbol.asyncDispose]: close };
  }

  /** A notification came on a connection of `partition`. */
  dispatch(partition: Partition, notice: ServerNotice): void {
    for (const open of [...this.#open]) {
      if (open.partition !== partition || open.stream !== undefined || !matches(open.filter, notice)) continue;
      try {
        open.onNotification(notice);
      } catch (error) {
        this.#context.pool.logger.error({ error, server: this.#context.config.name }, 'a subscription listener threw');
      }
    }
  }

  /** A new connection of `partition` is up: it is asked for all that the old one was. */
  resume(partition: Partition, connection: Connection): void {
    this.#retries.get(partition)?.[Symbol.dispose]();
    this.#retries.delete(partition);
    const asked = new Set<string>();
    for (const open of this.#open) {
      if (open.partition !== partition) continue;
      const fresh = (open.filter.resourceUris ?? []).filter((uri) => !asked.has(uri));
      for (const uri of fresh) asked.add(uri);
      this.#ask(open, connection, fresh).catch((error: unknown) => this.#failed(partition, error));
    }
  }

  /** The connection is gone: somebody is still waiting for its news, so another is made. */
  reconnect(partition: Partition): void {
    if (!this.has(partition) || this.#retries.has(partition)) return;
    const { clock } = this.#context.pool;
    const attempt = (): void => {
      this.#retries.delete(partition);
      if (!this.has(partition)) return;
      partition.acquire({ timeoutMs: this.#context.options.acquireTimeoutMs }).then(
        (lease) => partition.release(lease),
        (error: unknown) => {
          this.#failed(partition, error);
          const waitMs = error instanceof CircuitOpenError ? error.retryAfterMs : RETRY_MS;
          if (this.has(partition)) this.#retries.set(partition, clock.setTimer(attempt, Math.max(waitMs, 1)));
        },
      );
    };
    this.#retries.set(partition, clock.setTimer(attempt, 0));
  }

  /** Ends all; the connections end too. */
  close(): void {
    for (const open of [...this.#open]) this.#forget(open);
    for (const retry of this.#retries.values()) retry[Symbol.dispose]();
    this.#retries.clear();
  }

  async #ask(open: Open, connection: Connection, uris: readonly string[]): Promise<void> {
    if (connection.listen !== undefined && connection.info.era === 'modern') {
      const stream = await connection.listen({ ...open.filter }, { onNotification: open.onNotification });
      if (!this.#open.has(open)) await stream.close();
      else {
        open.stream = stream;
        stream.ended.then(() => this.#streamEnded(open, stream, connection));
      }
      return;
    }
    const options = { timeoutMs: this.#context.options.timeoutMs };
    await Promise.all(uris.map((uri) => connection.request('resources/subscribe', { uri }, options)));
  }

  /** By the server: over. By the death of its connection: taken up again on the next. */
  #streamEnded(open: Open, stream: Stream, connection: Connection): void {
    if (open.stream !== stream) return;
    open.stream = undefined;
    if (connection.alive) this.#forget(open);
  }

  async #close(open: Open): Promise<void> {
    if (!this.#open.has(open)) return;
    this.#forget(open);
    await open.stream?.close();
    const [link] = open.partition.links;
    if (link === undefined || link.connection.info.era === 'modern') return;
    for (const uri of open.filter.resourceUris ?? []) {
      if (this.#watches(open.partition, uri)) continue;
      await link.connection
        .request('resources/unsubscribe', { uri }, { timeoutMs: this.#context.options.timeoutMs })
        .catch((error: unknown) => this.#failed(open.partition, error));
    }
  }

  #watches(partition: Partition, uri: string): boolean {
    for (const open of this.#open) {
      if (open.partition === partition && open.filter.resourceUris?.includes(uri)) return true;
    }
    return false;
  }

  #forget(open: Open): void {
    if (this.#open.delete(open)) open.end();
  }

  #failed(partition: Partition, error: unknown): void {
    const { config, pool } = this.#context;
    pool.logger.warn(
      { server: config.name, caller: partition.key, error: messageOf(error) },
      'a subscription could not be kept up',
    );
  }
}

function matches(filter: SubscriptionFilter, { method, params }: ServerNotice): boolean {
  if (method === 'notifications/resources/updated') {
    return filter.resourceUris?.includes(params?.['uri'] as string) ?? false;
  }
  return Object.entries(LIST_CHANGED).some(
    ([key, name]) => name === method && filter[key as keyof typeof LIST_CHANGED] === true,
  );
}
