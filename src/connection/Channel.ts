import { AbortHub } from '../core/AbortHub.js';
import type { Clock } from '../core/clock.js';
import {
  AcquireTimeoutError,
  ClosedError,
  MessageTooLargeError,
  messageOf,
  NotSentError,
  OptionError,
  OutcomeUnknownError,
  RequestTimeoutError,
  RpcError,
  WireError,
} from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { TimeoutWheel } from '../core/TimeoutWheel.js';
import { Call } from './Call.js';
import { CallTable } from './CallTable.js';
import { detached, scanReply } from './envelope.js';
import type { CallOptions, Params, Progress, RequestHandler, ServerNotice } from './messages.js';
import { ServerRequests } from './ServerRequests.js';

/** What a channel needs of its wire. */
export interface ChannelWire {
  /** Takes a call's text. It calls `channel.markSent(call)` right before the first byte goes out. */
  send(call: Call, text: string): void;
  /** Sends a notification or a reply; `call` is the one it belongs to, where the wire attributes. Best effort. */
  post(text: string, call: Call | undefined): void;
  /** Ends a sent call upstream that nobody waits for any more, where the wire itself does that; else the channel does. */
  cancel?(call: Call, reason: string): void;
}

export interface ChannelOptions {
  /** The server's name, for errors. */
  readonly server: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes of one outgoing message. */
  readonly maxMessageBytes: number;
  /** Longest call in ms from its send, where the call does not say. */
  readonly timeoutMs: number;
  readonly acquireTimeoutMs: number;
  /** Longest call however much progress comes. */
  readonly maxTotalTimeoutMs: number;
  /** Notifications that belong to no call. */
  readonly onNotification?: (notice: ServerNotice) => void;
  /** Requests that belong to no call; without one they get -32601. */
  readonly onRequest?: RequestHandler;
  /** Told of each answered call: ms from send to answer. */
  readonly onAnswer?: (latencyMs: number) => void;
}

export interface ChannelCounters {
  /** Calls handed to the wire. */
  calls: number;
  /** Replies to calls that had settled. */
  lateReplies: number;
  /** What came and was no message of the protocol, or answered a call never made. */
  garbage: number;
  /** Requests of the server that belonged to no call. */
  orphanRequests: number;
}

/**
 * JSON-RPC over one connection: many calls in flight, each settled exactly once, by its answer, its timeout, its
 * signal, or the death of the wire. Ids and progress tokens on the wire are its own; callers get theirs back. It
 * checks the envelope and nothing else. A timeout cancels the call and keeps the connection.
 */
export class Channel {
  readonly counters: ChannelCounters = { calls: 0, lateReplies: 0, garbage: 0, orphanRequests: 0 };
  /** Adds what an era asks of every request's params; set after the handshake. */
  envelope: ((params: Params | undefined) => Params) | undefined;
  readonly #options: ChannelOptions;
  readonly #wire: ChannelWire;
  readonly #pending = new CallTable();
  readonly #wheel: TimeoutWheel;
  readonly #aborts = new AbortHub();
  readonly #serverRequests: ServerRequests;
  readonly #onTimeout = (call: Call): void => this.#timedOut(call);
  #nextId = 1;
  #failure: ((call: Call) => unknown) | undefined;
  #rawPending = 0;
  #onIdle: (() => void) | undefined;

  constructor(wire: ChannelWire, options: ChannelOptions) {
    this.#wire = wire;
    this.#options = options;
    this.#wheel = new TimeoutWheel(options.clock);
    this.#serverRequests = new ServerRequests((text, call) => this.#wire.post(text, call));
  }

  /** Calls not settled yet. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /** Whether some call wants its result's bytes. */
  get wantsRaw(): boolean {
    return this.#rawPending > 0;
  }

  pending(id: number): Call | undefined {
    return this.#pending.get(id);
  }

  /**
   * Sends a request and resolves to its result. Errors: `ERR_RPC`, `ERR_REQUEST_TIMEOUT`, `ERR_OUTCOME_UNKNOWN`,
   * `ERR_NOT_SENT`, `ERR_ACQUIRE_TIMEOUT` (the wire took nothing in time), `ERR_MESSAGE_TOO_LARGE`, `ERR_WIRE`,
   * `ERR_OPTION` (params that are not JSON), or the signal's reason.
   */
  request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const call = new Call(this.#nextId++, method, params, options, { resolve, reject }, this.#onTimeout);
      if (this.#failure !== undefined) {
        reject(this.#failure(call));
        return;
      }
      let text: string;
      try {
        text = this.#encode(call);
      } catch (error) {
        reject(error);
        return;
      }
      this.#pending.add(call);
      if (options.raw === true) this.#rawPending++;
      if (signal !== undefined) call.watch = this.#aborts.watch(signal, (reason) => this.#aborted(call, reason));
      this.#wire.send(call, text);
    });
  }

  /** A notification's text, checked as a request's is. */
  encodeNotice(method: string, params: Params | undefined): string {
    const full = this.envelope === undefined ? params : this.envelope(params);
    return this.#stringify(full === undefined ? { jsonrpc: '2.0', method } : { jsonrpc: '2.0', method, params: full });
  }

  /** The wire is about to hand the call's first byte on: from here it may have run, and its timeout begins. */
  markSent(call: Call, nowMs: number): void {
    call.phase = 'sent';
    call.sentMs = nowMs;
    this.counters.calls++;
    this.#wheel.add(call, this.#budgetMs(call, nowMs), nowMs);
  }

  /** The wire cannot take the call now: it waits, for its `acquireTimeoutMs` at the most. */
  markWaiting(call: Call): void {
    this.#wheel.add(call, call.options.acquireTimeoutMs ?? this.#options.acquireTimeoutMs);
  }

  /** The server refused the call unread, so that it provably never ran: it waits to be sent again. */
  requeue(call: Call): void {
    call.phase = 'queued';
    this.counters.calls--;
    this.markWaiting(call);
  }

  /** One parsed message; `call` is the one whose stream it came on, where the wire attributes. */
  receive(message: unknown, call?: Call): void {
    if (Array.isArray(message)) {
      for (const each of message) this.#receiveOne(each, call);
    } else this.#receiveOne(message, call);
  }

  /** One message as it came: taken, and true, when it is the reply to a `raw` call, whose result stays bytes. */
  receiveBytes(bytes: Buffer): boolean {
    const reply = scanReply(bytes);
    const call = reply === undefined ? undefined : this.#pending.get(reply.id);
    if (reply === undefined || call?.options.raw !== true) return false;
    this.#answered(call);
    call.resolve(detached(bytes.subarray(reply.start, reply.end)));
    return true;
  }

  /** The wire says so of one call: it failed, or never went out. */
  failCall(call: Call, error: unknown): void {
    if (this.#settle(call)) call.reject(error);
  }

  /** An over-cap reply: its own call fails. False when no call has that id. */
  failOversized(id: number, bytes: number, maxBytes: number): boolean {
    const call = this.#pending.get(id);
    if (call === undefined) return id < this.#nextId && id > 0;
    this.failCall(call, new MessageTooLargeError(this.#options.server, 'incoming', bytes, maxBytes));
    return true;
  }

  /**
   * The wire is dead: every call fails, those sent as `ERR_OUTCOME_UNKNOWN`, those not as `ERR_NOT_SENT`, and so does
   * every later one. Idempotent: the first reason stands.
   */
  fail(why: string, cause?: unknown): void {
    if (this.#failure !== undefined) return;
    const { server } = this.#options;
    this.#failure = (call) =>
      cause instanceof ClosedError && call.phase === 'queued'
        ? cause
        : call.phase === 'sent'
          ? new OutcomeUnknownError(server, call.method, why, { cause })
          : new NotSentError(server, why, cause);
    for (const call of this.#pending.values()) {
      const error = this.#failure(call);
      if (this.#settle(call)) call.reject(error);
    }
    this.#serverRequests.close();
    this.#wheel.close();
  }

  /** Resolves when no call is in flight. */
  idle(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const before = this.#onIdle;
      this.#onIdle = () => {
        before?.();
        resolve();
      };
    });
  }

  #receiveOne(message: unknown, stream: Call | undefined): void {
    if (typeof message !== 'object' || message === null) {
      this.counters.garbage++;
      return;
    }
    const { id, method, result, error, params } = message as Record<string, unknown>;
    if (typeof method === 'string') {
      if (id === undefined) this.#notified(method, params as Params | undefined, stream);
      else if (typeof id === 'number' || typeof id === 'string') {
        this.#requested(id, method, params as Params | undefined, stream);
      } else this.counters.garbage++;
      return;
    }
    const failed = error !== undefined && error !== null;
    if (result === undefined && !failed) {
      this.counters.garbage++;
      return;
    }
    const call = typeof id === 'number' ? this.#pending.get(id) : undefined;
    if (call === undefined) {
      this.#unexpected(id);
      return;
    }
    this.#answered(call);
    if (failed) call.reject(this.#rpcError(error));
    else if (call.options.raw === true) call.resolve(Buffer.from(JSON.stringify(result)));
    else call.resolve(result);
  }

  /** An answer came: the caller settles the call's promise right after. */
  #answered(call: Call): void {
    this.#options.onAnswer?.(this.#options.clock.now() - call.sentMs);
    this.#settle(call);
  }

  #unexpected(id: unknown): void {
    if (typeof id === 'number' && Number.isInteger(id) && id > 0 && id < this.#nextId) this.counters.lateReplies++;
    else this.counters.garbage++;
  }

  #rpcError(error: unknown): Error {
    const { code, message, data } = (typeof error === 'object' && error !== null ? error : {}) as Record<
      string,
      unknown
    >;
    if (typeof code !== 'number' || typeof message !== 'string') {
      return new WireError(this.#options.server, `an error reply without code and message: ${JSON.stringify(error)}`);
    }
    return new RpcError(this.#options.server, code, message, data);
  }

  #notified(method: string, params: Params | undefined, stream: Call | undefined): void {
    if (method === 'notifications/progress') {
      const owner = this.#pending.get(params?.['progressToken'] as number);
      if (owner !== undefined) this.#progressed(owner, params as unknown as Progress);
      return;
    }
    if (method === 'notifications/cancelled') {
      this.#serverRequests.cancel(params?.['requestId'], params?.['reason']);
      return;
    }
    const notice: ServerNotice = params === undefined ? { method } : { method, params };
    if (stream !== undefined && stream.phase !== 'settled' && stream.options.onNotification !== undefined) {
      this.#tell(stream.options.onNotification, notice);
    } else this.#tell(this.#options.onNotification, notice);
  }

  /** A user's callback must not disturb the wire that calls it. */
  #tell<T>(callback: ((payload: T) => void) | undefined, payload: T): void {
    try {
      callback?.(payload);
    } catch (error) {
      this.#options.logger.error({ error, server: this.#options.server }, 'a callback of a call threw');
    }
  }

  #progressed(call: Call, params: Progress): void {
    if (call.options.resetTimeoutOnProgress === true && call.phase === 'sent') {
      const nowMs = this.#options.clock.now();
      this.#wheel.add(call, this.#budgetMs(call, nowMs), nowMs);
    }
    this.#tell(call.options.onProgress, { ...params, progressToken: call.progressToken ?? call.id });
  }

  #requested(id: string | number, method: string, params: Params | undefined, stream: Call | undefined): void {
    const request = params === undefined ? { id, method } : { id, method, params };
    if (method === 'ping') {
      this.#serverRequests.answer(id, {}, stream);
      return;
    }
    const own = stream?.phase === 'settled' ? undefined : stream?.options.onRequest;
    if (own === undefined) this.counters.orphanRequests++;
    this.#serverRequests.serve(request, own ?? this.#options.onRequest, stream);
  }

  #timedOut(call: Call): void {
    const { server } = this.#options;
    if (call.phase === 'queued') {
      const timeoutMs = call.options.acquireTimeoutMs ?? this.#options.acquireTimeoutMs;
      this.failCall(
        call,
        new AcquireTimeoutError(`server ${server}: its input is blocked`, timeoutMs, {
          live: 1,
          creating: 0,
          dying: 0,
          slots: this.#pending.size,
          inUse: this.#pending.size,
          waiting: 0,
        }),
      );
      return;
    }
    const nowMs = this.#options.clock.now();
    const timeoutMs = Math.round(nowMs - call.sentMs);
    this.#cancelUpstream(call, `no answer within ${timeoutMs} ms`);
    this.failCall(call, new RequestTimeoutError(server, call.method, this.#timeoutMs(call)));
  }

  #aborted(call: Call, reason: unknown): void {
    if (call.phase === 'sent') this.#cancelUpstream(call, messageOf(reason));
    this.failCall(call, reason);
  }

  /** `initialize` must not be cancelled (spec, cancellation, behaviour requirements). */
  #cancelUpstream(call: Call, reason: string): void {
    if (this.#wire.cancel !== undefined) this.#wire.cancel(call, reason);
    else if (call.method !== 'initialize') this.#wire.post(cancelledNotice(call, reason), call);
  }

  /** Takes the call out of every table; true the first time. The caller settles its promise. */
  #settle(call: Call): boolean {
    if (call.phase === 'settled') return false;
    call.phase = 'settled';
    this.#pending.delete(call);
    this.#wheel.remove(call);
    if (call.options.raw === true) this.#rawPending--;
    call.watch?.[Symbol.dispose]();
    if (this.#pending.size === 0 && this.#onIdle !== undefined) {
      const onIdle = this.#onIdle;
      this.#onIdle = undefined;
      onIdle();
    }
    return true;
  }

  #timeoutMs(call: Call): number {
    return call.options.timeoutMs ?? this.#options.timeoutMs;
  }

  /** What the call may still take: its timeout, within its total. */
  #budgetMs(call: Call, nowMs: number): number {
    const totalMs = call.options.maxTotalTimeoutMs ?? this.#options.maxTotalTimeoutMs;
    return Math.min(this.#timeoutMs(call), Math.max(0, call.sentMs + totalMs - nowMs));
  }

  #encode(call: Call): string {
    let { params } = call;
    if (this.envelope !== undefined && call.method !== 'initialize') params = this.envelope(params);
    const meta = params?.['_meta'] as Params | undefined;
    const token = meta?.['progressToken'] as string | number | undefined;
    if (token !== undefined || call.options.onProgress !== undefined) {
      call.progressToken = token;
      params = { ...params, _meta: { ...meta, progressToken: call.id } };
    }
    return this.#stringify(
      params === undefined
        ? { jsonrpc: '2.0', id: call.id, method: call.method }
        : { jsonrpc: '2.0', id: call.id, method: call.method, params },
    );
  }

  #stringify(message: Params): string {
    const { server, maxMessageBytes } = this.#options;
    let text: string;
    try {
      text = JSON.stringify(message);
    } catch (error) {
      throw new OptionError('params', message['params'], 'a value that JSON can carry', error);
    }
    // A UTF-16 unit is at most three bytes: most messages need no count.
    if (text.length * 3 > maxMessageBytes) {
      const bytes = Buffer.byteLength(text);
      if (bytes > maxMessageBytes) throw new MessageTooLargeError(server, 'outgoing', bytes, maxMessageBytes);
    }
    return text;
  }
}

/** What tells a server that nobody waits for `call` any more. */
export function cancelledNotice(call: Call, reason: string): string {
  const params = { requestId: call.id, reason };
  return JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
}
