import type { Tool } from '@modelcontextprotocol/client';
import { messageOf } from '../../core/errors.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { Endpoint } from '../net/Endpoint.js';
import { UrlConnection, type UrlConnectionOptions } from '../net/UrlConnection.js';
import { type EraMemory, negotiate } from '../protocol/era.js';
import { discoverMaybe, discoverModern, type HandshakeOptions, initializeLegacy } from '../protocol/handshake.js';
import { assertModern, type ListenOptions, type ListenSubscription, OpenListens } from '../protocol/listen.js';
import type { Params, ServerInfo } from '../protocol/messages.js';
import { HttpTransport } from './HttpTransport.js';
import { ServerStream } from './ServerStream.js';

export interface HttpConnectionOptions extends UrlConnectionOptions {
  /** `legacy-first`: the legacy era where the server speaks both. @defaultValue 'auto' */
  readonly era?: Era | 'auto' | 'legacy-first';
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
export class HttpConnection extends UrlConnection<HttpTransport, HttpConnectionOptions> {
  readonly #listens = new OpenListens({ ...this.options, channel: this.channel, listPace: this.options.listPace });
  #stream: ServerStream | undefined;

  /** @throws StartError with its cause, after everything is gone; OptionError; the signal's reason. */
  static async open(options: HttpConnectionOptions): Promise<HttpConnection> {
    const connection = new HttpConnection(options);
    await connection.start();
    connection.#openStream();
    return connection;
  }

  /** Calls not settled yet; open subscriptions are none. */
  override get inFlight(): number {
    return this.channel.inFlight - this.#listens.size;
  }

  /** Opens a subscription (modern era): see `listen`. @throws OptionError in the legacy era; QueueFullError beyond `maxSubscriptionStreams`. */
  async listen(filter: Params, options: ListenOptions): Promise<ListenSubscription> {
    this.scope.assertOpen();
    assertModern(this.info.era);
    const left = this.transport.endpoint.subscribe(options.owner);
    return this.#listens.open(filter, { ...options, timeoutMs: options.timeoutMs ?? this.options.timeoutMs }, left);
  }

  protected override makeTransport(endpoint: Endpoint, options: HttpConnectionOptions): HttpTransport {
    return new HttpTransport(endpoint, {
      clock: options.clock,
      logger: options.logger,
      replyTimeoutMs: REPLY_TIMEOUT_MS,
      resendOnSessionLoss: options.resendOnSessionLoss ?? true,
      refreshTool: options.refreshTool,
      onOverflow: (why) => this.die(why),
      onSessionLost: () => this.#sessionLost(),
    });
  }

  protected override handshake(deadlineMs: number): Promise<ServerInfo> {
    const { clock, logger, era = 'auto', eraMemory } = this.options;
    const startTimeoutMs = Math.max(1, deadlineMs - clock.now());
    return negotiate(
      era,
      {
        modern: (version) => discoverModern(this.channel, this.#handshake(deadlineMs), version),
        maybeModern: (version, limitMs = Number.POSITIVE_INFINITY) => {
          const options = this.#handshake(deadlineMs);
          return discoverMaybe(this.channel, { ...options, timeoutMs: Math.min(options.timeoutMs, limitMs) }, version);
        },
        legacy: () => this.#initialize(deadlineMs),
        status: () => this.transport.handshakeStatus,
      },
      { server: this.server, logger, memory: eraMemory, startTimeoutMs, wallNow: () => clock.wallNow() },
    );
  }

  protected override post(method: string, text: string, params: Params | undefined, caller?: object): Promise<void> {
    return this.transport.notify(method, text, params, caller);
  }

  protected override refuse(): void {
    this.#listens.abort();
  }

  protected override leave(): Promise<void> {
    return this.transport.leave(LEAVE_MS);
  }

  protected override stop(): void {
    this.#stream?.stop();
  }

  #handshake(deadlineMs: number): HandshakeOptions {
    return { ...this.handshakeOptions(deadlineMs), onModern: (version) => this.transport.speak('modern', version) };
  }

  /** `initialize`, and `initialized` accepted: some servers refuse calls that overtake it. */
  async #initialize(deadlineMs: number): Promise<ServerInfo> {
    this.channel.envelope = undefined;
    this.transport.speak('legacy', undefined);
    let accepted = Promise.resolve();
    const info = await initializeLegacy(this.channel, this.#handshake(deadlineMs), (method, version) => {
      this.transport.speak('legacy', version);
      accepted = this.transport.initialized(method, this.channel.encodeNotice(method, undefined));
      // Awaited below; it may fail before that.
      accepted.catch(() => undefined);
    });
    await accepted;
    return info;
  }

  #openStream(): void {
    this.#stream?.stop();
    this.#stream = this.transport.era === 'legacy' && this.alive ? new ServerStream(this.transport) : undefined;
    this.transport.stream = this.#stream;
  }

  #sessionLost(): void {
    this.#stream?.stop();
    if (this.serverInfo === undefined) return;
    if (this.options.resendOnSessionLoss === false) this.die('its session is gone');
    else if (this.alive) void this.scope.track(this.#reinitialise());
  }

  async #reinitialise(): Promise<void> {
    const { logger, clock, startTimeoutMs, onNewSession } = this.options;
    try {
      const info = await this.#initialize(clock.now() + startTimeoutMs);
      if (!this.alive && !this.scope.closing) return;
      this.serverInfo = info;
      logger.info({ server: this.server }, 'the server had lost the session; there is a new one');
      try {
        onNewSession?.(info);
      } catch (error) {
        logger.error({ server: this.server, error }, 'onNewSession threw');
      }
      this.transport.reopen();
      this.#openStream();
    } catch (error) {
      this.die(`its session is gone, and there was no new one: ${messageOf(error)}`, error);
    }
  }
}
