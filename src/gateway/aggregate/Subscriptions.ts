import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { messageOf, OptionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { within } from '../../core/time/within.js';
import { signalOf } from '../../core/wait/Cancellation.js';
import type { McpPool, ServerNotice, Subscription } from '../../pool/McpPool.js';
import type { CallOptions, Downstream, ListenOptions } from '../endpoint/Endpoint.js';
import { type ListenFilter, type Listening, untilAborted } from '../modern/Listening.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { checkUri } from '../rpc/limits.js';
import type { Callers } from '../session/callers/Callers.js';
import { lateFor } from '../session/callers/crowding.js';
import { keptUp, untilOpen } from '../session/SessionSubscriptions.js';
import type { Outward } from './passage/Outward.js';
import type { UriRoute, Uris } from './uris/Uris.js';

export interface SubscriptionsOptions {
  readonly pool: McpPool;
  readonly callers: Callers;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Longest that a client waits for a server, in ms. */
  readonly serverWaitMs: number;
  readonly uris: Uris;
  readonly outward: Outward;
  /** Whether the aggregate has the server now: a group may lose one. */
  readonly holds: (server: string) => boolean;
  /** Has a session told of a server's notification by `tell`, through the gateway's middleware. */
  readonly told: Told;
}

export type Told = (
  session: Downstream,
  server: string,
  notice: ServerNotice,
  tell: (notice: ServerNotice) => void,
) => void;

/** Who is to be told what: resources by their servers' subscriptions, lists as the aggregate has them. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  /** Subscriptions of the modern era, told of a kind of list that changed. */
  readonly #listeners = new Set<(kind: string) => void>();

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /** A list of that kind is another now. */
  tell(kind: string): void {
    for (const listener of this.#listeners) listener(kind);
  }

  /** Where a client's URI leads. @throws Refusal */
  async locate(session: Downstream, uri: unknown): Promise<UriRoute> {
    const given = checkUri(uri);
    const route = await this.#options.uris.find(given, session);
    if (route !== undefined) return route;
    const code = session.era === 'modern' ? RPC_CODES.invalidParams : RPC_CODES.resourceNotFound;
    throw new Refusal(code, `Resource not found: ${given.slice(0, 200)}`, { uri: given });
  }

  /** `resources/subscribe` of a legacy client. */
  async open(session: Downstream, params: Params | undefined, call: CallOptions): Promise<unknown> {
    const given = params?.['uri'];
    const route = await this.locate(session, given);
    const notify = ({ method, params: about }: ServerNotice): void => session.notify(method, about);
    const tell = (notice: ServerNotice): void => this.#options.told(session, route.server, notice, notify);
    const signal = signalOf(call.signal);
    const subscribe = (): Promise<Subscription> =>
      this.#subscribe(route.server, [[given as string, route.uri]], session, tell, signal);
    const opened = session.subscribe(given as string, subscribe, signal);
    await untilOpen(route.server, opened, { clock: this.#options.clock, signal });
    if (given === route.uri) this.#options.uris.keep(route.server, route.uri, session);
    return {};
  }

  /** `resources/unsubscribe` of a legacy client. */
  async close(session: Downstream, given: string, call: CallOptions): Promise<void> {
    await within(session.unsubscribe(given), { clock: this.#options.clock, signal: signalOf(call.signal) });
  }

  /** `subscriptions/listen` of a modern client. What one server does not tell of, or not in time, is not agreed on; the rest is. */
  async listen(
    client: Downstream,
    filter: ListenFilter,
    { signal, address, onNotification }: ListenOptions,
  ): Promise<Listening> {
    const { resourceSubscriptions: wanted = [], ...lists } = filter;
    const kinds = Object.fromEntries(Object.entries(lists).filter(([, asked]) => asked === true));
    const byServer = await this.#byServer(client, wanted);
    const gone = new AbortController();
    const opened = await Promise.all(
      [...byServer].map(async ([server, uris]) => {
        try {
          const subscription = await this.#inTime(server, client, signal, (own) =>
            this.#subscribe(server, uris, client, onNotification, own, address),
          );
          void subscription.ended.then(() => this.#isGone(server) && gone.abort());
          const told = new Set(subscription.filter.resourceUris);
          return uris.filter(([, own]) => told.has(own)).map(([given]) => given);
        } catch (error) {
          if (signal.aborted) throw error;
          const { logger } = this.#options;
          if (!(error instanceof OptionError)) {
            logger.warn({ server, error: messageOf(error) }, 'a server does not tell of its resources');
          }
          return [];
        }
      }),
    );
    const agreed = new Set(opened.flat());
    const uris = wanted.filter((uri) => agreed.has(uri));
    const listener = (kind: string): void => {
      if (Object.hasOwn(kinds, `${kind}ListChanged`)) onNotification({ method: `notifications/${kind}/list_changed` });
    };
    this.#listeners.add(listener);
    const told = { ...kinds, ...(wanted.length === 0 ? {} : { resourceSubscriptions: uris }) };
    // Of one that is gone the client listens anew, and hears what can be told now.
    return untilAborted(told, AbortSignal.any([signal, gone.signal]), () => this.#listeners.delete(listener));
  }

  /** Whether it was stopped or removed: what it says by itself ends nothing but its own. */
  #isGone(server: string): boolean {
    const { pool } = this.#options;
    return !pool.hasServer(server) || ['stopping', 'stopped'].includes(pool.state(server));
  }

  /** What `open` opens, which ends with `signal`; it is given up when it is not open in time. */
  async #inTime(
    server: string,
    client: Downstream,
    signal: AbortSignal,
    open: (signal: AbortSignal) => Promise<Subscription>,
  ): Promise<Subscription> {
    const { pool, callers, clock, serverWaitMs } = this.#options;
    const tooLate = new AbortController();
    const late = (): Error =>
      lateFor({ pool, clock, caller: callers.of(server, client) }, server, 'resources/subscribe', serverWaitMs);
    try {
      return await within(open(AbortSignal.any([signal, tooLate.signal])), {
        clock,
        timeoutMs: serverWaitMs,
        late,
        signal,
      });
    } catch (error) {
      tooLate.abort(error);
      throw error;
    }
  }

  /** Each server's URIs, as the client gave them and as it knows them itself. */
  async #byServer(client: Downstream, wanted: readonly string[]): Promise<Map<string, [string, string][]>> {
    const byServer = new Map<string, [string, string][]>();
    for (const [at, route] of (await this.#options.uris.findAll(wanted, client)).entries()) {
      const given = wanted[at];
      if (route === undefined || given === undefined) continue;
      const uris = byServer.get(route.server) ?? [];
      byServer.set(route.server, uris);
      uris.push([given, route.uri]);
    }
    return byServer;
  }

  /** A client is told of a URI in the form in which it asked for it, and of what lies below it as all know it. */
  async #subscribe(
    server: string,
    uris: readonly (readonly [given: string, own: string])[],
    session: Downstream,
    tell: (notice: ServerNotice) => void,
    signal: AbortSignal | undefined,
    address?: string,
  ): Promise<Subscription> {
    const { pool, callers, outward, holds } = this.#options;
    const given = new Map(uris.map(([client, own]) => [own, client]));
    const onNotification = (notice: ServerNotice): void => {
      if (!holds(server)) return;
      const uri = notice.params?.['uri'];
      const asked = typeof uri === 'string' ? given.get(uri) : undefined;
      tell(asked === undefined ? outward.notice(notice, server, session) : outward.about(notice, server, asked));
    };
    return keptUp(server, session, signal, { ...this.#options, tell: onNotification }, async () => {
      // From here on the server's era is known, so that no connection is made of one that it does not speak.
      await callers.info(server, session, signal ?? session.signal, address);
      const caller = callers.of(server, session, address);
      const options = { onNotification, ...(signal && { signal }), ...(caller && { caller }) };
      return pool.subscribe(server, { resourceUris: [...given.keys()] }, options);
    });
  }
}
