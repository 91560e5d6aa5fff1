import type { Socket } from 'node:net';
import type { Agent, buildConnector as Connectors, Dispatcher, Pool as Pools } from 'undici';
import { Shares } from '../../../concurrent/Shares.js';
import { type Clock, systemClock } from '../../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../../core/close/CloseScope.js';
import { QueueFullError } from '../../../core/errors.js';
import { lookUp } from '../../../core/net/lookup.js';
import { TurnBudget } from '../../../core/time/turns.js';
import { IncomingBytes } from '../body/IncomingBytes.js';
import { type HttpDispatcherOptions, resolveDispatcherOptions } from '../httpOptions.js';
import { boundedReads } from './boundedReads.js';
import { MAX_LINGERING_BYTES } from './Lingering.js';
import { CIPHERS, pacedTls, type SocketConnector } from './pacedTls.js';
import { endsWhilePaused } from './pausedParser.js';
import { undici } from './undici.js';

/** Which sockets a request goes over. */
export type Lane = 'calls' | 'replies' | 'streams';

/** A connection that is being made, for one request. */
export interface Connecting {
  /** It is there, or failed. */
  over: boolean;
  destroy(error: Error): void;
}

/**
 * The sockets of the URL transports, in three lanes that never wait for each other: a call may wait for an answer of ours,
 * and a stream may stay open for ever, so neither must hold the socket that the other needs. A pool makes one and hands
 * it to all its connections; its maker closes it, after them.
 */
export class HttpDispatchers {
  readonly proxyFromEnv: boolean;
  readonly incoming: IncomingBytes;
  /** What requests hold whose calls are over. */
  readonly lingering = new Shares(MAX_LINGERING_BYTES);
  /** Of the last dispatch that began one: undici does so at once. */
  connecting: Connecting | undefined;
  readonly #options: HttpDispatcherOptions;
  readonly #resolved: ReturnType<typeof resolveDispatcherOptions>;
  readonly #clock: Clock;
  /** By lane, those of a tunnel also by proxy. */
  readonly #sockets = new Map<string, Dispatcher>();
  /** What is read of all sockets in a turn of the event loop without telling anything. */
  readonly #turns = new TurnBudget();
  /** Open subscriptions, which have a socket each, by whose they are. */
  readonly #subscriptions: Shares;
  readonly #scope: CloseScope;
  /** Connections that are being made: undici makes some by itself, and at its end waits for none. */
  readonly #making = new Set<Connecting>();
  /** Those that are made: an agent lets go of a pool whose last socket closed, which makes others for the requests that it still has. */
  readonly #made = new Set<Socket>();
  #released = false;

  /** @throws OptionError */
  constructor(options: HttpDispatcherOptions = {}, clock: Clock = systemClock) {
    this.#options = options;
    this.#resolved = resolveDispatcherOptions(options);
    this.#clock = clock;
    this.proxyFromEnv = this.#resolved.proxyFromEnv;
    this.#subscriptions = new Shares(this.#resolved.maxSubscriptionStreams);
    this.incoming = new IncomingBytes(this.#resolved.maxIncomingBytes);
    this.#scope = new CloseScope('http dispatchers', {
      clock,
      onRelease: async () => {
        this.#released = true;
        const ended = [...this.#sockets.values()].map((each) => each.destroy());
        for (const each of [...this.#making, ...this.#made]) each.destroy(closed());
        await Promise.all(ended);
        this.#turns.close();
      },
    });
  }

  get maxReplySockets(): number {
    return this.#resolved.maxReplySockets;
  }

  /** Room for one more subscription, until what is given back is called. Without an owner it is of no share. @throws QueueFullError */
  subscribe(owner: string | undefined): () => void {
    const group = owner ?? '';
    const all = this.#subscriptions;
    if (!all.mayTake(group, 1, 0, owner === undefined)) {
      throw new QueueFullError('streams of subscriptions (maxSubscriptionStreams)', all.taken, all.max);
    }
    all.add(group, 1);
    return () => all.add(group, -1);
  }

  /**
   * What `owner` asks of `origin` on the lane of replies has sockets of its own by this origin, beside those of others: the owner of an origin
   * that answers none of them, or one behind the same proxy, would keep theirs.
   */
  static ownOrigin(origin: string, owner: string): string {
    const own = new URL(origin);
    own.hash = owner;
    return own.href;
  }

  /** The sockets of `lane`; for an https URL behind `proxy`, those of a tunnel through it. */
  of(lane: Lane, proxy: URL | undefined): Dispatcher {
    const key = proxy === undefined ? lane : `${lane} ${proxy.href}`;
    let sockets = this.#sockets.get(key);
    if (sockets === undefined) {
      sockets = proxy === undefined ? this.#direct(lane) : this.#tunnel(lane, proxy);
      // A request after the close fails as one under way does.
      if (this.#released) void sockets.destroy();
      this.#sockets.set(key, sockets);
    }
    return sockets;
  }

  #common(lane: Lane): Agent.Options {
    // Times of waiting are the calls' own: see `Exchange`.
    const { maxHeaderBytes, keepAliveMs, maxReplySockets } = this.#resolved;
    return {
      maxHeaderSize: maxHeaderBytes,
      keepAliveTimeout: keepAliveMs,
      headersTimeout: 0,
      bodyTimeout: 0,
      ...(lane === 'replies' && { connections: maxReplySockets }),
    };
  }

  #direct(lane: Lane): Agent {
    const { Agent } = undici();
    return new Agent({
      ...this.#common(lane),
      connect: this.#pausable(lane, this.#connector(this.#options.tls)),
      factory: poolOf,
    });
  }

  #tunnel(lane: Lane, proxy: URL): Dispatcher {
    const { ProxyAgent } = undici();
    const overIt = this.#connector(this.#options.tls);
    const toProxy = this.#pausable(lane, this.#connector());
    return new ProxyAgent({
      ...this.#common(lane),
      uri: proxy.href,
      // A proxy that takes the connection and never answers for the tunnel.
      clientFactory: (origin: string | URL, given: object) =>
        poolOf(origin, { ...given, headersTimeout: this.#resolved.connectTimeoutMs, connect: toProxy }),
      factory: (origin: string | URL, given: object) => {
        const { connect, ...others } = given as Pools.Options & { readonly connect: Connectors.connector };
        return poolOf(origin, { ...others, connect: this.#pausable(lane, this.#through(connect, overIt)) });
      },
    });
  }

  /** The request for a tunnel, and the TLS handshake over it, end with the request that needs them. */
  #through(tunnel: Connectors.connector, overIt: Connectors.connector): Connectors.connector {
    return (options, callback) => {
      const ended = new AbortController();
      let end = (error: Error): void => ended.abort(error);
      const done: Connectors.Callback = (...result) => {
        over();
        callback(...result);
      };
      const host = options.port ? options.host : `${options.host}:443`;
      // As if for http: ProxyAgent gives the tunnel alone. It would keep its handshake to itself.
      const alone = { ...options, host, port: options.port || '443', protocol: 'http:', signal: ended.signal };
      tunnel(alone as Connectors.Options, (...result) => {
        const httpSocket = result[1] ?? undefined;
        if (httpSocket === undefined) return done(...result);
        try {
          ended.signal.throwIfAborted();
          // The name is that of the options, or of the host.
          overIt({ ...options, servername: undefined, httpSocket } as unknown as Connectors.Options, done);
          const handshake = this.connecting;
          end = (error) => handshake?.destroy(error);
        } catch (error) {
          httpSocket.destroy();
          done(error as Error, null);
        }
      });
      // After that of the connection to the proxy, which others may use.
      const over = this.#begun((error) => end(error));
    };
  }

  /** undici's own timeout of connecting stands on a clock of half a second that outlives its sockets. */
  #connector(tls: HttpDispatcherOptions['tls'] = {}): Connectors.connector {
    const timeoutMs = this.#resolved.connectTimeoutMs;
    const own = undici().buildConnector({
      ciphers: CIPHERS,
      lookup: lookUp,
      ...tls,
      timeout: 0,
    } as Connectors.BuildOptions) as SocketConnector;
    const connect = pacedTls(own, tls, this.#turns);
    return (options, callback) => {
      if (this.#released) {
        queueMicrotask(() => callback(closed(), null));
        return;
      }
      // First: with a key that is not the certificate's it throws.
      const socket = connect(options, (...result) => {
        timer.cancel();
        over();
        const made = result[1];
        if (made) this.#made.add(made.once('close', () => this.#made.delete(made)));
        callback(...result);
      });
      const over = this.#begun((error) => socket.destroy(error));
      const late = (): void => socket.destroy(new Error(`no connection to ${options.hostname} within ${timeoutMs} ms`));
      const timer = this.#clock.setTimer(late, timeoutMs, { ref: true });
    };
  }

  /** A connection is being made; what is given back says that it is there, or failed. */
  #begun(destroy: (error: Error) => void): () => void {
    const connecting = { over: false, destroy };
    this.connecting = connecting;
    this.#making.add(connecting);
    return () => {
      connecting.over = true;
      this.#making.delete(connecting);
    };
  }

  /** Its sockets stand it that the reading of a response is paused. */
  #pausable(lane: Lane, connect: Connectors.connector): Connectors.connector {
    return endsWhilePaused(boundedReads(connect, this.#turns, lane === 'replies'));
  }

  /** Ends every socket at once; requests on them fail. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function closed(): Error {
  return new Error('the connection is closed');
}

/** Sockets of one origin, or of one owner's (`ownOrigin`): an agent keeps these by what it is asked for. */
function poolOf(origin: string | URL, options: object): Pools {
  return new (undici().Pool)(new URL(origin).origin, options);
}
