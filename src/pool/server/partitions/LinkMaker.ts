import type { Connection, DisconnectReason } from '../../../connection/Connection.js';
import { methodNotFound } from '../../../connection/channel/ServerRequests.js';
import type { ServerRequest } from '../../../connection/protocol/messages.js';
import type { Caller, PoolEvents } from '../../McpPool.js';
import type { Credentials } from '../callers/Credentials.js';
import { InboundRouter } from '../callers/InboundRouter.js';
import type { Subscriptions } from '../callers/Subscriptions.js';
import type { ServerContext } from '../context.js';
import { PooledConnection } from './PooledConnection.js';
import type { Seat } from './Seats.js';

export interface LinkMakerHooks {
  readonly credentials: Credentials;
  readonly subscriptions: Subscriptions;
  /** Aborts when the server ends. */
  readonly closing: AbortSignal;
}

/** Makes a server's connections, tells of their start and end, and says where goes what comes on them and belongs to no call. */
export class LinkMaker {
  readonly #context: ServerContext;
  readonly #hooks: LinkMakerHooks;

  constructor(context: ServerContext, hooks: LinkMakerHooks) {
    this.#context = context;
    this.#hooks = hooks;
  }

  /** @throws what the connector failed with; nothing is left then, and the seat is still the caller's. */
  async make(caller: Caller | undefined, seat: Seat, signal: AbortSignal): Promise<PooledConnection> {
    const { config, fingerprint, options, pool, connector, counters, events } = this.#context;
    const { credentials, subscriptions, closing } = this.#hooks;
    const startMs = pool.clock.now();
    let link: PooledConnection | undefined;
    const made = await connector.connect({
      config,
      fingerprint,
      options,
      pool,
      caller,
      capabilities: caller?.capabilities ?? options.clientCapabilities,
      credentials,
      signal,
      closing,
      onRenewed: () => {
        if (link !== undefined) subscriptions.renewed(link.connection);
      },
      // The handshake is no call of anybody's.
      onAnswer: (latencyMs) => {
        if (link !== undefined) counters.latency.record(latencyMs);
      },
      onStderr: (line, pid) => events.emit('stderr', { server: config.name, pid, line }),
    });
    const connection = await this.#wrapped(made);
    const traffic = new InboundRouter(connection, {
      exclusive: options.sharing !== 'shared',
      logger: pool.logger,
      onAny: (notice) => subscriptions.dispatch(connection, notice),
      orphan: {
        onNotification: (notice) => void events.emit('notification', { ...this.#from(link), notice }),
        onRequest: (request, { signal: given }) => this.#ask(link, request, given),
      },
    });
    link = new PooledConnection(connection, made, traffic, seat, startMs);
    link.owner = caller;
    counters.startedAt = connection.startedAt;
    events.emit('started', { server: config.name, pid: connection.pid, startMs: pool.clock.now() - startMs });
    return link;
  }

  /** One has died or was ended: its counts stay. */
  gone({ connection }: PooledConnection, death: DisconnectReason): void {
    const { config, counters, events } = this.#context;
    counters.keep(connection.counters);
    if (!death.expected) counters.lastError = death.why;
    events.emit('exited', {
      server: config.name,
      pid: connection.pid,
      exitCode: death.exitCode ?? null,
      signal: death.signal ?? null,
      expected: death.expected,
    });
  }

  async #wrapped(made: Connection): Promise<Connection> {
    const { wrapConnection, logger } = this.#context.pool;
    if (wrapConnection === undefined) return made;
    try {
      return await wrapConnection(made);
    } catch (error) {
      // Idempotent: the wrapper may have done so itself.
      await made.close({ graceMs: 0 }).catch((failed: unknown) => logger.error({ error: failed }, 'it did not end'));
      throw error;
    }
  }

  #from(link: PooledConnection | undefined): Pick<PoolEvents['notification'], 'server' | 'principal' | 'key'> {
    return { server: this.#context.config.name, principal: link?.owner?.principal, key: link?.owner?.key };
  }

  /** A request that belongs to nobody: the first listener of the pool that responds answers it. */
  #ask(link: PooledConnection | undefined, request: ServerRequest, signal: AbortSignal): Promise<unknown> {
    const { config, counters, events } = this.#context;
    counters.orphanRequests++;
    return new Promise((resolve, reject) => {
      let answered = false;
      events.emit('orphanRequest', {
        ...this.#from(link),
        request,
        signal,
        respond: (answer) => {
          if (answered) return;
          answered = true;
          answer.then(resolve, reject);
        },
      });
      if (!answered) reject(methodNotFound(config.name, request.method));
    });
  }
}
