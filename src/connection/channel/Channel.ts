import { messageOf, RequestTimeoutError } from '../../core/errors.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { AbortHub } from '../../core/wait/AbortHub.js';
import type { CallOptions, Params, Progress } from '../protocol/messages.js';
import { type Arrival, arrivalOfBatch, dataTextOf } from './Arrival.js';
import { Call, type CallOwner, CallTable } from './Call.js';
import { CallTimes } from './CallTimes.js';
import type { ChannelCounters, ChannelOptions, ChannelTransport } from './ChannelOptions.js';
import { cancelledNotice, type Envelope, encodeCall, encodeNotice } from './codec/encode.js';
import { detached, type RawReply, replyError, scanReply } from './codec/envelope.js';
import { changed, keepParams } from './codec/exactText.js';
import { objectMember } from './codec/ownId.js';
import { bytesOf, FREE_BYTES, parsableText } from './codec/parsingCost.js';
import { type Failing, failAll, failureOf } from './failureOf.js';
import { Inbox } from './Inbox.js';
import { LargeReplies } from './large/LargeReplies.js';
import { ServerRequests } from './ServerRequests.js';
import { severalIn } from './unread/severalIn.js';
import { Unread } from './unread/Unread.js';

export type { ChannelCounters, ChannelOptions, ChannelTransport };

/**
 * JSON-RPC over one connection: many calls in flight, each settled exactly once, by its answer, its timeout, its
 * signal, or the death of the transport. Ids and progress tokens on the transport are its own; callers get theirs back. It
 * checks the envelope and nothing else. A timeout cancels the call and keeps the connection.
 */
export class Channel {
  readonly counters: ChannelCounters = { calls: 0, lateReplies: 0, garbage: 0, orphanRequests: 0, callbackErrors: 0 };
  /** Adds what an era asks of every request's params; set after the handshake. */
  envelope: Envelope | undefined;
  /** Replies that are taken in pieces. */
  readonly large: LargeReplies;
  readonly #options: ChannelOptions;
  readonly #transport: ChannelTransport;
  readonly #pending = new CallTable();
  readonly #times: CallTimes;
  readonly #aborts = new AbortHub();
  readonly #serverRequests: ServerRequests;
  readonly #inbox: Inbox;
  readonly unread: Unread;
  readonly #owner: CallOwner = {
    timedOut: (call) => void (this.#times.goesOn(call, this.unread.arrived(call)) || this.#timedOut(call)),
    aborted: (call, reason) => this.#aborted(call, reason),
  };
  #failure: Failing | undefined;
  #told: Promise<void> | undefined;

  constructor(transport: ChannelTransport, options: ChannelOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#times = new CallTimes(options);
    const { server, logger, onNotification, onRequest } = options;
    this.#serverRequests = new ServerRequests(transport, options, () => this.#pending.notifies());
    const fail = (call: Call, error: unknown): void => this.failCall(call, error);
    const doubt = (call: Call, error: Error): void => this.#times.doubted(call, error);
    this.unread = new Unread(this.#pending, this.counters, options, fail, doubt, (message) => void this.read(message));
    this.large = new LargeReplies(this, options, this.#pending, this.#times);
    this.#inbox = new Inbox({
      server,
      logger,
      requests: this.#serverRequests,
      pending: (id) => this.#pending.find(id),
      counters: this.counters,
      onAsk: (stream) => this.#times.asked(stream === undefined ? this.#pending.values() : [stream]),
      onProgress: (call, params) => this.#progressed(call, params as unknown as Progress),
      onNotification,
      onRequest,
    });
  }

  /** Calls not settled yet. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /** Whether some call wants its result's bytes. */
  get wantsRaw(): boolean {
    return this.#pending.raw > 0;
  }

  /** Whether some call wanted that, though it may have been given up since: only such answers are taken in pieces. */
  get everRaw(): boolean {
    return this.#pending.everRaw;
  }

  pending(id: number): Call | undefined {
    return this.#pending.get(id);
  }

  /**
   * Sends a request and resolves to its result. Errors: `ERR_RPC`, `ERR_REQUEST_TIMEOUT`, `ERR_OUTCOME_UNKNOWN`,
   * `ERR_NOT_SENT`, `ERR_ACQUIRE_TIMEOUT` (the transport took nothing in time), `ERR_MESSAGE_TOO_LARGE`, `ERR_PROTOCOL`,
   * `ERR_OPTION` (params that are no object, or not JSON), or the signal's reason.
   */
  request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    const begin = (resolve: (result: unknown) => void, reject: (error: unknown) => void): void => {
      const ended = options.cancellation ?? options.signal;
      if (ended?.aborted === true) return void reject(ended.reason);
      const call = new Call(this.#pending.nextId(), method, params, options, resolve, reject, this.#owner);
      if (this.#failure !== undefined) return void reject(this.#failure(call));
      let text: string;
      try {
        text = encodeCall(call, this.envelope, this.#options);
      } catch (error) {
        return void reject(error);
      }
      if (options.meter !== undefined) options.meter.sentBytes = Buffer.byteLength(text);
      this.#pending.add(call);
      if (ended !== undefined) call.watched = this.#aborts.join(ended, call);
      try {
        this.#transport.send(call, text);
      } catch (error) {
        this.failCall(call, error);
      }
    };
    const { paramsText = '' } = options;
    if (paramsText.length < FREE_BYTES) return new Promise(begin);
    // They are gone through again: of calls that waited for one event, a start or a reload, as many go on in a turn as fit into it.
    return inTurnOrNow(() => new Promise(begin)) as Promise<unknown>;
  }

  /** A notification's text, checked as a request's is. */
  encodeNotice(method: string, params: Params | undefined): string {
    this.#pending.notifies();
    return encodeNotice(method, params, this.envelope, this.#options);
  }

  /** The transport is about to hand the call's first byte on: from here it may have run, and its timeout begins. */
  markSent(call: Call, nowMs: number): void {
    call.phase = 'sent';
    this.counters.calls++;
    this.#times.sent(call, nowMs);
  }

  /** The transport cannot take the call now: it waits, no longer than its `acquireTimeoutMs`, for a new session as long as it says. */
  markWaiting(call: Call, awaitsSession = false): void {
    this.#times.waiting(call, awaitsSession);
  }

  /** The server refused the call unread, so that it provably never ran: it waits to be sent again. */
  requeue(call: Call, awaitsSession?: boolean): void {
    call.phase = 'queued';
    this.counters.calls--;
    this.markWaiting(call, awaitsSession);
  }

  /**
   * One message as the transport brought it; `call` as in `receive`; `reply` is what was found out while it came. False when it was not
   * taken: it is no JSON, or would hold up everything else while it is parsed; the call whose answer it is fails.
   */
  read(data: Buffer | string, call?: Call, reply?: RawReply | null): boolean {
    // A large one that comes late is not worth its parsing.
    if (reply && this.#pending.sent(reply.id) === undefined && this.unread.late(reply.id)) return true;
    if (!reply && this.unread.refuses(data, reply)) return false;
    if (reply !== null && this.wantsRaw && this.receiveBytes(bytesOf(data), reply)) return true;
    let text: string;
    let message: unknown;
    try {
      text = parsableText(data, this.unread);
      message = JSON.parse(text);
    } catch (error) {
      const several = error instanceof SyntaxError ? severalIn(bytesOf(data)) : [];
      for (const each of several) this.read(each, call);
      if (several.length > 0) return true;
      this.unread.garbage(bytesOf(data), error instanceof SyntaxError ? undefined : messageOf(error), call);
      return false;
    }
    this.receive(message, call, text);
    return true;
  }

  /**
   * One parsed message; `call` is the one whose stream it came on, where the transport attributes; `text` is what it was
   * parsed from, where its size may be asked for.
   */
  receive(message: unknown, call?: Call, text?: string | Uint8Array): void {
    if (!Array.isArray(message)) {
      this.#receiveOne(message, { stream: call, text });
    } else if (!this.unread.refusesBatch(message)) {
      const arrival = arrivalOfBatch(call, text);
      for (const each of message) this.#receiveOne(each, arrival);
      this.#options.onBatch?.(message.length);
    }
  }

  /** One message as it came: taken, and true, when it is the reply with a result to a `raw` call, which stays bytes. */
  receiveBytes(bytes: Buffer, scanned?: RawReply | null): boolean {
    const reply = scanned === undefined ? scanReply(bytes) : scanned;
    if (reply === undefined || reply === null) return false;
    const call = this.#pending.sent(reply.id);
    if (call?.options.raw !== true) return false;
    this.answered(call, bytes);
    call.resolve(detached(bytes, reply.start, reply.end));
    return true;
  }

  /** An answer came: the caller settles the call's promise right after. */
  answered(call: Call, text?: string | Uint8Array): void {
    const { onAnswer, listPace, clock } = this.#options;
    if (text !== undefined) listPace?.onRead(call.method, text.length);
    const { meter } = call.options;
    if (meter !== undefined && text !== undefined) meter.receivedBytes = Buffer.byteLength(text);
    try {
      onAnswer?.(clock.now() - call.sentMs);
    } catch (error) {
      this.#inbox.threw(error);
    }
    this.#pending.answered(call);
    this.#settle(call);
  }

  /** The transport says so of one call: it failed, or never went out. */
  failCall(call: Call, error: unknown): void {
    if (this.#settle(call)) call.reject(error);
  }

  /**
   * The transport is dead: every call fails, those sent as `ERR_OUTCOME_UNKNOWN`, those not as `ERR_NOT_SENT`, and so does
   * every later one. Idempotent: the first reason stands.
   */
  fail(why: string, cause?: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = failureOf(this.#options.server, why, cause);
    this.unread.halves.forget();
    this.#told = failAll(this.#pending.values(), this.#failure, (call) => this.#settle(call));
    this.#serverRequests.close();
    this.#times.close();
  }

  /** Resolves when no call is in flight, and all callers have heard of theirs. */
  idle(): Promise<void> {
    return this.#pending.idle().then(() => this.#told);
  }

  #receiveOne(message: unknown, arrival: Arrival): void {
    if (!this.#taken(message, arrival)) this.counters.garbage++;
  }

  #taken(message: unknown, arrival: Arrival): boolean {
    if (typeof message !== 'object' || message === null) return false;
    const { id, method, result, error, params } = message as Record<string, unknown>;
    if (typeof method === 'string') {
      if (params !== undefined && arrival.text !== undefined && arrival.deep === undefined)
        keepParams(params, arrival.text);
      const given = objectMember(params);
      return this.#inbox.received(id, method, given, arrival);
    }
    const failed = error !== undefined && error !== null;
    if ((result === undefined && !failed) || this.unread.isLogged(message)) return false;
    const call = this.#pending.sent(id);
    if (call === undefined && failed && arrival.stream === undefined) this.unread.blames(message);
    if (call === undefined) return this.unread.late(id);
    if (failed) this.unread.halves.doubts(call);
    this.answered(call, arrival.text);
    const { raw } = call.options;
    if (failed) call.reject(replyError(this.#options.server, error, raw === true ? dataTextOf(arrival) : undefined));
    else if (raw === true) call.resolve(Buffer.from(JSON.stringify(result)));
    else call.resolve(result);
    return true;
  }

  #progressed(call: Call, params: Progress): void {
    const { onProgress, resetTimeoutOnProgress } = call.options;
    this.#times.believed(call);
    this.unread.halves.doubts(call);
    if (resetTimeoutOnProgress === true && call.phase === 'sent') this.#times.anew(call, this.#options.clock.now());
    this.#inbox.tell(onProgress, changed(params, { progressToken: call.progressToken ?? call.id }));
  }

  #timedOut(call: Call): void {
    const error = this.#times.error(call, this.#pending.size);
    this.#giveUp(call, error instanceof RequestTimeoutError ? `no answer within ${error.timeoutMs} ms` : error.message);
    this.failCall(call, error);
  }

  #aborted(call: Call, reason: unknown): void {
    this.#giveUp(call, messageOf(reason));
    this.failCall(call, reason);
  }

  /** What was not sent is let go of. `initialize` must not be cancelled (spec, cancellation, behaviour requirements). */
  #giveUp(call: Call, reason: string): void {
    if (call.phase !== 'sent') return void call.carrier?.end();
    this.#pending.gaveUp(call.id);
    if (this.#transport.cancel !== undefined) this.#transport.cancel(call, reason);
    else if (call.method !== 'initialize') this.#transport.post(cancelledNotice(call, reason));
  }

  /** Takes the call out of every table; true the first time. The caller settles its promise. */
  #settle(call: Call): boolean {
    if (call.phase === 'settled') return false;
    call.phase = 'settled';
    this.#pending.delete(call);
    this.#times.settled(call);
    call.watched?.leave(call);
    return true;
  }
}
