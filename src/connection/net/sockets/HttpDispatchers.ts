import type { buildConnector as Connectors, Dispatcher, Pool as Pools, Agent as Sockets } from 'undici';
import { type Clock, systemClock } from '../../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../../core/close/CloseScope.js';
import { IncomingBytes } from '../body/IncomingBytes.js';
import { HTTP_DEFAULTS, type HttpDispatcherOptions, resolveDispatcherOptions } from '../httpOptions.js';
import { endsWhilePaused } from './pausedParser.js';
import { Agent, buildConnector, Pool, ProxyAgent } from './undici.js';

/** Which sockets a request goes over. */
export type Lane = 'calls' | 'replies' | 'streams';

/**
 * The sockets of the URL transports, in three lanes that never wait for each other: a call may wait for an answer of ours,
 * and a stream may stay open for ever, so neither must hold the socket that the other needs. A pool makes one and hands
 * it to all its connections; its maker closes it, after them.
 */
export class HttpDispatchers {
  readonly calls: Sockets;
  readonly replies: Sockets;
  readonly streams: Sockets;
  readonly proxyFromEnv: boolean;
  readonly incoming: IncomingBytes;
  readonly #options: HttpDispatcherOptions;
  readonly #common: Sockets.Options;
  /** By proxy and lane. */
  readonly #tunnels = new Map<string, Dispatcher>();
  readonly #scope: CloseScope;

  /** @throws OptionError */
  constructor(options: HttpDispatcherOptions = {}, clock: Clock = systemClock) {
    const { connectTimeoutMs, maxHeaderBytes, keepAliveMs, maxReplySockets, maxIncomingBytes, proxyFromEnv } =
      resolveDispatcherOptions(options);
    const common = {
      connect: endsWhilePaused(connector(connectTimeoutMs, options.tls ?? {}, clock)),
      maxHeaderSize: maxHeaderBytes,
      keepAliveTimeout: keepAliveMs,
      // Times of waiting are the calls' own: see `Exchange`.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    this.#options = options;
    this.#common = common;
    this.proxyFromEnv = proxyFromEnv;
    this.incoming = new IncomingBytes(maxIncomingBytes);
    this.calls = new Agent(common);
    this.replies = new Agent({ ...common, connections: maxReplySockets });
    this.streams = new Agent(common);
    this.#scope = new CloseScope('http dispatchers', {
      clock,
      onRelease: async () => {
        const own = [this.calls, this.replies, this.streams, ...this.#tunnels.values()];
        await Promise.all(own.map((each) => each.destroy()));
      },
    });
  }

  /** The sockets of `lane`; for an https URL behind `proxy`, those of a tunnel through it. */
  of(lane: Lane, proxy: URL | undefined): Dispatcher {
    if (proxy === undefined) return this[lane];
    const key = `${lane} ${proxy.href}`;
    let tunnel = this.#tunnels.get(key);
    if (tunnel === undefined) {
      const { connect: _, ...common } = this.#common;
      const { connectTimeoutMs = HTTP_DEFAULTS.connectTimeoutMs, tls = {} } = this.#options;
      const timeout = connectTimeoutMs;
      tunnel = new ProxyAgent({
        ...common,
        uri: proxy.href,
        proxyTls: { timeout } as never,
        requestTls: { ...tls, timeout } as never,
        factory: (origin, given) => {
          const { connect, ...others } = given as Pools.Options & { readonly connect: Connectors.connector };
          return new Pool(origin, { ...others, connect: endsWhilePaused(connect) });
        },
      });
      this.#tunnels.set(key, tunnel);
    }
    return tunnel;
  }

  /** Ends every socket at once; requests on them fail. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** undici's own timeout of connecting stands on a clock of half a second that outlives its sockets. */
function connector(timeoutMs: number, tls: object, clock: Clock): Connectors.connector {
  const connect = buildConnector({ ...tls, timeout: 0 } as Connectors.BuildOptions) as (
    options: Connectors.Options,
    callback: Connectors.Callback,
  ) => { destroy(error: Error): void };
  return (options, callback) => {
    const timer = clock.setTimer(
      () => socket.destroy(new Error(`no connection to ${options.hostname} within ${timeoutMs} ms`)),
      timeoutMs,
      { ref: true },
    );
    const socket = connect(options, (...result) => {
      timer.cancel();
      callback(...result);
    });
  };
}
