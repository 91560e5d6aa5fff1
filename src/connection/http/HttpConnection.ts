import type { Tool } from '@modelcontextprotocol/client';
import { type CloseOptions, CloseScope } from '../../core/CloseScope.js';
import { ClosedError, messageOf, OptionError, StartError } from '../../core/errors.js';
import type { Era } from '../../registry/ServerConfig.js';
import { Channel, type ChannelCounters } from '../Channel.js';
import type { Connection, ConnectionOptions, Death } from '../Connection.js';
import { ConnectionEvents } from '../ConnectionEvents.js';
import { type ClientIdentity, discoverModern, initializeLegacy } from '../handshake.js';
import type { CallOptions, Params, RequestHandler, ServerInfo, ServerNotice } from '../messages.js';
import { type CredentialsSource, Endpoint } from '../net/Endpoint.js';
import { HttpDispatchers } from '../net/HttpDispatchers.js';
import type { HttpDispatcherOptions, HttpWireOptions } from '../net/httpOptions.js';
import { type EraMemory, negotiate } from './era.js';
import { HttpWire } from './HttpWire.js';
import { type ListenOptions, type ListenSubscription, listen } from './ListenStream.js';
import { ServerStream } from './ServerStream.js';

export interface UrlConnectionOptions
  extends ConnectionOptions,
    ClientIdentity,
    HttpDispatcherOptions,
    HttpWireOptions {
  readonly server: string;
  readonly url: string;
  /** Added to every request. What the protocol sets itself is refused with `ERR_OPTION`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Credentials at the start, and others after a 401. Single-flight is its maker's business. */
  readonly credentials?: CredentialsSource;
  /** Shared sockets, closed by their owner. Without them the connection has its own, by the options above. */
  readonly dispatchers?: HttpDispatchers;
  readonly signal?: AbortSignal;
}

export interface HttpConnectionOptions extends UrlConnectionOptions {
  /** @defaultValue 'auto' */
  readonly era?: Era | 'auto';
  /** Where the verdict of `auto` is kept. */
  readonly eraMemory?: EraMemory;
  /**
   * Calls that a lost session refused are sent once more in a new one. False where a session belongs to one user alone
   * (leased, bound): they fail with `ERR_NOT_SENT` and the connection ends. @defaultValue true
   */
  readonly resendOnSessionLoss?: boolean;
  /** Gives a tool's newest definition when its headers were refused (-32020, modern); the call is sent once more. */
  readonly refreshTool?: (name: string) => Promise<Tool | undefined>;
  /** A new session took the place of a lost one: what the server was told in the old one is forgotten. */
  readonly onNewSession?: (info: ServerInfo) => void;
}

/** How long the end of a session (DELETE) may take, in ms. */
const LEAVE_MS = 2_000;
const REPLY_TIMEOUT_MS = 30_000;

/**
 * MCP over Streamable HTTP, of both eras. Every call has its own POST: what comes on its stream belongs to it. The
 * connection outlives sockets, and a legacy session that the server forgot: one `initialize` for all callers, and what
 * was refused goes out once more. It dies when that fails, or by `close()`, which also ends the session.
 */
export class HttpConnection implements Connection {
  readonly server: string;
  readonly pid = undefined;
  readonly startedAt: number;
  readonly #options: HttpConnectionOptions;
  readonly #ownDispatchers: HttpDispatchers | undefined;
  readonly #endpoint: Endpoint;
  readonly #wire: HttpWire;
  readonly #channel: Channel;
  readonly #scope: CloseScope;
  readonly #events: ConnectionEvents;
  readonly #listening = new Set<AbortController>();
  #stream: ServerStream | undefined;
  #info: ServerInfo | undefined;

  /** @throws StartError with its cause, after everything is gone; OptionError; the signal's reason. */
  static async open(options: HttpConnectionOptions): Promise<HttpConnection> {
    options.signal?.throwIfAborted();
    const connection = new HttpConnection(options);
    try {
      await connection.#start();
      return connection;
    } catch (error) {
      await connection.close({ graceMs: 0 });
      if (options.signal?.aborted === true) throw options.signal.reason;
      if (error instanceof OptionError) throw error;
      throw new StartError(options.server, messageOf(error), {}, error);
    }
  }

  private constructor(options: HttpConnectionOptions) {
    const { server, clock, logger } = options;
    this.server = server;
    this.startedAt = clock.wallNow();
    this.#options = options;
    this.#ownDispatchers = options.dispatchers === undefined ? new HttpDispatchers(options, clock) : undefined;
    const dispatchers = options.dispatchers ?? (this.#ownDispatchers as HttpDispatchers);
    this.#endpoint = new Endpoint({ ...options, dispatchers });
    this.#events = new ConnectionEvents(server);
    this.#scope = new CloseScope(`connection to ${server}`, {
      clock,
      logger,
      onRefuse: () => this.#endListening(),
      onDrain: () => this.#channel.idle(),
      onDeadline: () => this.#channel.fail('the connection was closed', new ClosedError(this.#scope.name)),
      onRelease: () => this.#release(),
    });
    this.#wire = new HttpWire(this.#endpoint, {
      server,
      clock,
      logger,
      replyTimeoutMs: REPLY_TIMEOUT_MS,
      resendOnSessionLoss: options.resendOnSessionLoss ?? true,
      ...(options.refreshTool === undefined ? {} : { refreshTool: options.refreshTool }),
      onSessionLost: () => this.#sessionLost(),
    });
    this.#channel = new Channel(this.#wire, {
      ...options,
      onNotification: this.#events.notify,
      onRequest: this.#events.answer,
    });
    this.#wire.channel = this.#channel;
  }

  get info(): ServerInfo {
    if (this.#info === undefined) throw new Error('a connection is handed out only after its handshake');
    return this.#info;
  }

  get alive(): boolean {
    return this.#events.death === undefined && !this.#scope.closing;
  }

  get counters(): Readonly<ChannelCounters> {
    return this.#channel.counters;
  }

  /** Calls not settled yet; open subscriptions are none. */
  get inFlight(): number {
    return this.#channel.inFlight - this.#listening.size;
  }

  /** Always 0: a call is one request, handed over whole. */
  get unsentBytes(): number {
    return 0;
  }

  request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    if (this.#scope.closing) return Promise.reject(new ClosedError(this.#scope.name));
    return this.#channel.request(method, params, options);
  }

  /** Resolves when the server accepted it. */
  async notify(method: string, params?: Params): Promise<void> {
    this.#scope.assertOpen();
    await this.#scope.track(this.#wire.notify(method, this.#channel.encodeNotice(method, params), params));
  }

  /** Opens a subscription (modern era): see `listen` in ListenStream. @throws OptionError in the legacy era. */
  async listen(filter: Params, options: ListenOptions): Promise<ListenSubscription> {
    this.#scope.assertOpen();
    if (this.info.era === 'legacy') {
      throw new OptionError('era', 'legacy', 'a server of the modern era: a legacy one has resources/subscribe');
    }
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs;
    return listen(this.server, this.#channel, filter, { ...options, timeoutMs }, (control) => {
      this.#listening.add(control);
      return { [Symbol.dispose]: () => void this.#listening.delete(control) };
    });
  }

  onDeath(listener: (death: Death) => void): Disposable {
    return this.#events.onDeath(listener);
  }

  onNotification(listener: (notice: ServerNotice) => void): Disposable {
    return this.#events.onNotification(listener);
  }

  setRequestHandler(handler: RequestHandler | undefined): void {
    this.#events.setRequestHandler(handler);
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(): Promise<void> {
    const { clock, logger, era = 'auto', eraMemory, startTimeoutMs } = this.#options;
    const deadlineMs = clock.now() + startTimeoutMs;
    await this.#endpoint.start();
    this.#info = await negotiate(
      era,
      {
        modern: (version) => this.#discover(deadlineMs, version),
        legacy: () => this.#initialize(deadlineMs),
        status: () => this.#wire.handshakeStatus,
      },
      { server: this.server, logger, memory: eraMemory, wallNow: () => clock.wallNow() },
    );
    this.#openStream();
  }

  #discover(deadlineMs: number, version: string | undefined): Promise<ServerInfo> {
    return discoverModern(this.#channel, this.#handshake(deadlineMs), version);
  }

  /** `initialize`, and `initialized` accepted: some servers refuse calls that overtake it. */
  async #initialize(deadlineMs: number): Promise<ServerInfo> {
    this.#channel.envelope = undefined;
    this.#wire.speak('legacy', undefined);
    let accepted = Promise.resolve();
    const info = await initializeLegacy(this.#channel, this.#handshake(deadlineMs), (method, version) => {
      this.#wire.speak('legacy', version);
      accepted = this.#wire.initialized(method, this.#channel.encodeNotice(method, undefined));
      // Awaited below; it may fail before that.
      accepted.catch(() => undefined);
    });
    await accepted;
    return info;
  }

  #handshake(deadlineMs: number) {
    const { clientInfo, capabilities, clock, signal } = this.#options;
    return {
      server: this.server,
      clientInfo,
      capabilities,
      timeoutMs: Math.max(1, deadlineMs - clock.now()),
      ...(signal === undefined || this.#info !== undefined ? {} : { signal }),
      onModern: (version: string) => this.#wire.speak('modern', version),
    };
  }

  #openStream(): void {
    this.#stream?.stop();
    this.#stream = this.#wire.era === 'legacy' && this.alive ? new ServerStream(this.#wire) : undefined;
  }

  #sessionLost(): void {
    this.#stream?.stop();
    if (this.#info === undefined) return;
    if (this.#options.resendOnSessionLoss === false) this.#die('its session is gone');
    else if (this.alive) void this.#scope.track(this.#reinitialise());
  }

  async #reinitialise(): Promise<void> {
    const { logger, clock, startTimeoutMs, onNewSession } = this.#options;
    try {
      const info = await this.#initialize(clock.now() + startTimeoutMs);
      if (this.#events.death !== undefined) return;
      this.#info = info;
      logger.info({ server: this.server }, 'the server had lost the session; there is a new one');
      onNewSession?.(info);
      this.#wire.reopen();
      this.#openStream();
    } catch (error) {
      this.#die(`its session is gone, and there was no new one: ${messageOf(error)}`, error);
    }
  }

  #endListening(): void {
    for (const control of [...this.#listening]) control.abort();
  }

  #die(why: string, cause?: unknown): void {
    const expected = this.#scope.closing;
    if (!this.#events.die({ expected, why })) return;
    this.#stream?.stop();
    this.#channel.fail(why, expected ? new ClosedError(this.#scope.name) : cause);
    this.#endpoint.close();
    this.#events.tellDeath();
  }

  async #release(): Promise<void> {
    try {
      this.#stream?.stop();
      await this.#wire.leave(LEAVE_MS);
    } finally {
      this.#die('the connection was closed');
      this.#endpoint.close();
      this.#events.clear();
      await this.#ownDispatchers?.close();
    }
  }
}
