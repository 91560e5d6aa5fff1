import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { ClosedError, messageOf, OptionError, ProtocolError, StartError } from '../../core/errors.js';
import { limitedLogger } from '../../core/limitedLogger.js';
import { within } from '../../core/time/within.js';
import type {
  Connection,
  ConnectionLimits,
  ConnectionOptions,
  DisconnectReason,
  NotifyOptions,
} from '../Connection.js';
import { ConnectionEvents } from '../ConnectionEvents.js';
import { Channel, type ChannelCounters } from '../channel/Channel.js';
import { type ConnectionState, inspectConnection } from '../inspect.js';
import type { ClientIdentity, HandshakeOptions } from '../protocol/handshake.js';
import type { CallOptions, Params, RequestHandler, ServerInfo, ServerNotice } from '../protocol/messages.js';
import type { CallTransport } from './CallRequest.js';
import { type CredentialsSource, Endpoint } from './Endpoint.js';
import type { HttpDispatcherOptions, HttpTransportOptions } from './httpOptions.js';
import { HttpDispatchers } from './sockets/HttpDispatchers.js';

/** What both URL transports take. */
export interface UrlConnectionOptions
  extends ConnectionOptions,
    ClientIdentity,
    HttpDispatcherOptions,
    HttpTransportOptions {
  readonly server: string;
  readonly url: string;
  /** Added to every request. What the protocol sets itself is refused with `ERR_OPTION`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Credentials at the start, and others after a 401. */
  readonly credentials?: CredentialsSource;
  /** Shared sockets, closed by their owner. Without them the connection has its own, by the options above. */
  readonly dispatchers?: HttpDispatchers;
  readonly signal?: AbortSignal;
}

/** What a connection to a URL is, whichever its transport: one origin, one channel, and an end that leaves no socket. */
export abstract class UrlConnection<W extends CallTransport, O extends UrlConnectionOptions> implements Connection {
  readonly server: string;
  readonly pid = undefined;
  readonly startedAt: number;
  protected readonly transport: W;
  protected readonly channel: Channel;
  protected readonly scope: CloseScope;
  protected serverInfo: ServerInfo | undefined;
  protected readonly options: O;
  readonly #ownDispatchers: HttpDispatchers | undefined;
  readonly #endpoint: Endpoint;
  readonly #events: ConnectionEvents;

  protected constructor(options: O) {
    const { server, clock } = options;
    const logger = limitedLogger(options.logger, () => clock.now());
    this.server = server;
    this.startedAt = clock.wallNow();
    this.options = options;
    this.#ownDispatchers = options.dispatchers === undefined ? new HttpDispatchers(options, clock) : undefined;
    const dispatchers = options.dispatchers ?? (this.#ownDispatchers as HttpDispatchers);
    this.#endpoint = new Endpoint({ ...options, dispatchers });
    this.#events = new ConnectionEvents(server, logger, options.listPace);
    this.scope = new CloseScope(`connection to ${server}`, {
      clock,
      logger,
      onRefuse: () => this.refuse(),
      onDrain: () => this.channel.idle(),
      onDeadline: () => {
        this.channel.fail('the connection was closed', new ClosedError(this.scope.name));
        // Notifications and a handshake under way end here, too.
        this.#endpoint.abandon();
      },
      onRelease: () => this.#release(),
    });
    this.transport = this.makeTransport(this.#endpoint, { ...options, logger });
    this.channel = new Channel(this.transport, {
      ...options,
      logger,
      onNotification: this.#events.notify,
      onRequest: this.#events.answer,
      onBatch: (messages) => this.#endpoint.turns.charge(messages),
    });
    this.transport.channel = this.channel;
  }

  /** Called by the constructor, before the fields of the class itself are there. */
  protected abstract makeTransport(endpoint: Endpoint, options: O): W;
  /** The handshake, until `deadlineMs` on the clock. */
  protected abstract handshake(deadlineMs: number): Promise<ServerInfo>;
  /** Sends a notification and resolves when the server accepted it. */
  protected abstract post(method: string, text: string, params: Params | undefined, caller?: object): Promise<void>;
  /** Closing begins. */
  protected abstract refuse(): void;
  /** Its calls are over: ends what it has on the server. Bounded, never rejects. */
  protected abstract leave(): Promise<void>;
  /** It is dead: ends its streams. */
  protected abstract stop(): void;

  get info(): ServerInfo {
    if (this.serverInfo === undefined) throw new Error('a connection is handed out only after its handshake');
    return this.serverInfo;
  }

  get alive(): boolean {
    return this.#events.death === undefined && !this.scope.closing;
  }

  get counters(): Readonly<ChannelCounters> {
    return this.channel.counters;
  }

  get limits(): ConnectionLimits {
    return this.options;
  }

  get inFlight(): number {
    return this.channel.inFlight;
  }

  /** Always 0: a call is one request, handed over whole. */
  get unsentBytes(): number {
    return 0;
  }

  request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    if (this.scope.closing) return Promise.reject(new ClosedError(this.scope.name));
    return this.channel.request(method, params, options);
  }

  set wanted(wanted: (() => boolean) | undefined) {
    this.#endpoint.flows.wanted = wanted;
  }

  hurry(): void {
    for (const flow of this.#endpoint.flows.paused) flow.resume();
  }

  /** Resolves when the server accepted it. */
  async notify(method: string, params?: Params, { caller }: NotifyOptions = {}): Promise<void> {
    this.scope.assertOpen();
    await this.scope.track(this.post(method, this.channel.encodeNotice(method, params), params, caller));
  }

  onClose(listener: (death: DisconnectReason) => void): Disposable {
    return this.#events.onClose(listener);
  }

  onNotification(listener: (notice: ServerNotice) => void): Disposable {
    return this.#events.onNotification(listener);
  }

  setRequestHandler(handler: RequestHandler | undefined): void {
    this.#events.setRequestHandler(handler);
  }

  /** What it holds and has counted, as one plain object. */
  inspect(): ConnectionState {
    return inspectConnection(this);
  }

  close(options?: CloseOptions): Promise<void> {
    return this.scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Makes it ready, or ends it. @throws StartError with its cause, when nothing is left; the signal's reason. */
  protected async start(): Promise<void> {
    const { server, signal, clock, startTimeoutMs } = this.options;
    const deadlineMs = clock.now() + startTimeoutMs;
    const late = (): Error => new ProtocolError(server, `it was not ready within ${Math.round(startTimeoutMs)} ms`);
    try {
      signal?.throwIfAborted();
      // The hook for credentials and the memory of eras are other people's: they may hang.
      this.serverInfo = await within(this.#begin(deadlineMs), { clock, timeoutMs: startTimeoutMs, late, signal });
    } catch (error) {
      await this.close({ graceMs: 0 });
      if (signal?.aborted === true) throw signal.reason;
      throw error instanceof OptionError ? error : new StartError(server, messageOf(error), {}, error);
    }
  }

  async #begin(deadlineMs: number): Promise<ServerInfo> {
    await this.#endpoint.start();
    this.scope.assertOpen();
    return this.handshake(deadlineMs);
  }

  /** What a handshake takes. The signal of the start ends with it. */
  protected handshakeOptions(deadlineMs: number): HandshakeOptions {
    const { server, clientInfo, capabilities, protocolVersion, clock, signal } = this.options;
    const timeoutMs = Math.max(1, deadlineMs - clock.now());
    const options = { server, clientInfo, capabilities, protocolVersion, timeoutMs };
    return signal === undefined || this.serverInfo !== undefined ? options : { ...options, signal };
  }

  protected die(why: string, cause?: unknown): void {
    const expected = this.scope.closing;
    if (!this.#events.die({ expected, why })) return;
    this.stop();
    this.channel.fail(why, expected ? new ClosedError(this.scope.name) : cause);
    this.#endpoint.close();
    this.#events.tellDeath();
  }

  async #release(): Promise<void> {
    try {
      this.stop();
      await this.leave();
    } finally {
      this.die('the connection was closed');
      this.#endpoint.close();
      this.#events.clear();
      await this.#ownDispatchers?.close();
      await this.channel.idle();
    }
  }
}
