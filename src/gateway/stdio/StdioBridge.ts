import type { IncomingMessage } from 'node:http';
import { LARGE_REPLY_CHARS } from '../../connection/channel/ServerRequests.js';
import type { Edges } from '../../connection/channel/unread/MessageEdges.js';
import { messageAtEdges } from '../../connection/channel/unread/messageAtEdges.js';
import { HTTP_DEFAULTS } from '../../connection/net/httpOptions.js';
import { PendingReplies } from '../../connection/net/replies/PendingReplies.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { type Clock, systemClock } from '../../core/clock.js';
import {
  ClosedError,
  MessageTooLargeError,
  messageOf,
  NotSentError,
  type PoolkitError,
  ProtocolError,
} from '../../core/errors.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { withDeadline, within } from '../../core/time/within.js';
import { sharedAbort } from '../../core/wait/sharedAbort.js';
import { cancelledKey, classify, type Incoming, idKey, idTextOf, type RequestMessage } from '../rpc/envelope.js';
import { errorText, type Failure, failureOf } from '../rpc/failure.js';
import { ARRAY, answerArray, errorCodeIn, refusalOf } from './answers.js';
import { ClientPipe } from './ClientPipe.js';
import { ClientCalls, isSmallReply } from './calls/ClientCalls.js';
import { GatewayReach } from './calls/GatewayReach.js';
import { meaningOf } from './calls/meaningOf.js';
import { readAnswer } from './calls/readAnswer.js';
import { HttpLink, takenMs } from './HttpLink.js';
import { HttpSession, MAX_REOPENED } from './HttpSession.js';
import { ACCEPT, ModernHeaders, modernVersionOf } from './modernHeaders.js';
import { isEventStream, refusalText } from './readResponse.js';
import type { StdioBridgeOptions } from './StdioBridgeOptions.js';

/**
 * A gateway as one stdio server: what a client writes goes to the gateway's endpoint over Streamable HTTP, what comes back
 * goes to the client, both eras alike. A gateway that forgets its sessions, or is another one since, is initialised anew without the
 * client's doing; a call that may have run is never sent again.
 */
export class StdioBridge {
  readonly #options: StdioBridgeOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #pipe: ClientPipe;
  readonly #link: HttpLink;
  readonly #session: HttpSession;
  readonly #modern = new ModernHeaders();
  readonly #closing = sharedAbort();
  readonly #reach: GatewayReach;
  readonly #calls: ClientCalls;
  readonly #replies: PendingReplies;
  /** The handshake under way: what comes behind it waits. */
  #opening: Promise<void> | undefined;

  constructor(options: StdioBridgeOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    this.#clock = options.clock ?? systemClock;
    this.#reach = new GatewayReach(options.revive, this.#closing.signal);
    this.#calls = new ClientCalls(options.maxBufferedBytes, this.#clock);
    const { url, headers, connect } = options;
    this.#link = options.link ?? new HttpLink({ url, ...(headers && { headers }), ...(connect && { connect }) });
    // A gateway that asks without end brings about replies without end: what waits for it ends with the reason.
    this.#replies = new PendingReplies({
      server: 'gateway',
      logger: this.#logger,
      maxBytes: HTTP_DEFAULTS.maxReplyBytes,
      maxSending: HTTP_DEFAULTS.maxReplySockets,
      onOverflow: (why) => this.#link.cut(new ProtocolError('gateway', why)),
    });
    this.#session = new HttpSession({
      link: this.#link,
      clock: this.#clock,
      signal: this.#closing.signal,
      // An answer there is none: it comes in the response to its call.
      onMessage: (text) => {
        const meaning = meaningOf(text, 'null');
        if (meaning === 'request' || meaning === 'notification') this.#pipe.offer(text, meaning, this.#session);
      },
    });
    this.#pipe = new ClientPipe({
      ...options,
      clock: this.#clock,
      onStall: (stallTimeoutMs) =>
        this.#logger.warn({ stallTimeoutMs }, 'the client reads nothing of what waits for it: it is cut'),
      onDrop: () => options.onDrop?.(),
      onLine: (line) => this.#onLine(line),
      onOversized: (edges) => this.#onOversized(edges),
    });
  }

  /** Until the client has closed its end, or the signal says so, and what was in flight is answered. Never rejects. */
  async run(): Promise<void> {
    const { signal, graceMs } = this.#options;
    const over = this.#pipe.signal;
    await new Promise<void>((resolve) => {
      over.addEventListener('abort', () => resolve(), { once: true });
      signal?.addEventListener('abort', () => resolve(), { once: true });
      if (over.aborted || signal?.aborted === true) resolve();
    });
    // Calls in flight may wait for what the client answers: that is still read.
    await within(this.#calls.ended(), { clock: this.#clock, timeoutMs: graceMs }).catch(() => undefined);
    this.#pipe.stop();
    await this.#session.end();
    this.#closing.abort(new ClosedError('the client'));
    this.#calls.cancelAll(this.#closing.signal.reason);
    await this.#calls.ended();
    await this.#pipe.flushed(signal);
    await this.#link.close();
  }

  #onLine(line: string): void {
    let parsed: unknown;
    try {
      parsed = JSON.parse(line);
    } catch {
      this.#fail('null', { code: RPC_CODES.parseError, message: 'the line is not JSON' });
      return;
    }
    const message = Array.isArray(parsed) ? undefined : classify(parsed, line);
    if (message?.kind === 'request' && this.#options.signal?.aborted === true) {
      this.#onFailure(message, new ClosedError('the gateway'));
      return;
    }
    if (message?.kind === 'invalid') {
      this.#fail(JSON.stringify(message.id), { code: RPC_CODES.invalidRequest, message: message.why });
      return;
    }
    const refusal = isSmallReply(line, message)
      ? undefined
      : this.#calls.refusal(line.length, message !== undefined && message.kind !== 'request');
    if (message === undefined) this.#calls.add(line.length, this.#array(line, parsed as readonly unknown[], refusal));
    else if (refusal === undefined) this.#calls.add(line.length, this.#take(line, message));
    else if (message.kind === 'request') this.#onFailure(message, refusal);
    else if (message.kind === 'response') this.#answerInstead(JSON.stringify(message.id), refusal);
    else this.#logger.debug({ error: refusal.message }, 'a message of the client was not delivered');
  }

  /** Neither a client that asks nor a server that asked waits for what is not passed on. */
  #onOversized(edges: Edges): void {
    const refusal = new MessageTooLargeError('gateway', 'outgoing', edges.bytes, this.#options.maxMessageBytes);
    const { kind, idText = 'null' } = messageAtEdges(edges) ?? {};
    if (kind === 'response') this.#answerInstead(idText, refusal);
    else this.#fail(idText, failureOf(refusal, this.#logger));
  }

  /** The server that asked is told why it has no answer of the client. No gateway gave an id that makes that large: it would find no room either. */
  #answerInstead(idText: string, refusal: PoolkitError): void {
    const line = errorText(idText, failureOf(refusal, this.#logger));
    if (line.length <= LARGE_REPLY_CHARS) this.#onLine(line);
  }

  /** Never rejects. */
  async #array(line: string, messages: readonly unknown[], refusal: PoolkitError | undefined): Promise<void> {
    if (refusal === undefined) await this.#opening;
    const sink = {
      pipe: this.#pipe,
      link: this.#link,
      clock: this.#clock,
      fail: (idText: string, failure: Failure) => this.#fail(idText, failure),
      logger: this.#logger,
      trusted: this.#options.connect !== undefined,
    };
    const post = (): Promise<IncomingMessage> =>
      refusal === undefined ? this.#post(line, ARRAY) : Promise.reject(refusal);
    await answerArray(messages, post, sink);
  }

  /** Never rejects. */
  async #take(line: string, message: Incoming): Promise<void> {
    try {
      if (message.kind === 'request' && message.method === 'initialize') {
        const opening = this.#request(line, message, this.#closing.signal).catch((error: unknown) =>
          this.#onFailure(message, error),
        );
        this.#opening = opening;
        await opening;
        if (this.#opening === opening) this.#opening = undefined;
        return;
      }
      if (message.kind === 'request') {
        const key = idKey(message);
        const version = modernVersionOf(message.params);
        const opening = version === undefined ? this.#opening : undefined;
        if (opening !== undefined) {
          const opened = (signal: AbortSignal): Promise<void> => within(opening, { clock: this.#clock, signal });
          // Nothing of it was sent: cancelled, it is over.
          if (!(await this.#calls.cancellable(key, true, opened))) return;
        }
        await this.#calls.cancellable(key, version !== undefined, (signal) =>
          version === undefined
            ? this.#request(line, message, signal)
            : this.#modernRequest(line, message, version, signal),
        );
        return;
      }
      if (message.kind === 'notification' && this.#cancelled(message)) return;
      await this.#opening;
      if (!isSmallReply(line, message)) {
        const bounds = { clock: this.#clock, signal: this.#closing.signal, timeoutMs: takenMs(line) };
        return void (await withDeadline(bounds, (signal) => this.#deliver(line, signal)));
      }
      let delivered: Promise<unknown> | undefined;
      this.#replies.send(line, () => (delivered = this.#deliver(line)));
      await delivered;
    } catch (error) {
      if (message.kind === 'request') this.#onFailure(message, error);
      else this.#logger.debug({ error: messageOf(error) }, 'a message of the client was not delivered');
    }
  }

  /** What has no answer. */
  async #deliver(line: string, signal?: AbortSignal): Promise<{ readonly status: number }> {
    const response = await this.#post(line, '', signal);
    await this.#link.drain(response, this.#clock);
    return { status: response.statusCode ?? 0 };
  }

  /** One call of the legacy era. */
  async #request(line: string, message: RequestMessage, signal: AbortSignal): Promise<void> {
    const first = message.method === 'initialize';
    const response = await this.#post(line, message.method, signal, first);
    await this.#answer(message, response, (text) => this.#session.answered(message, response, text));
  }

  async #modernRequest(line: string, message: RequestMessage, version: string, signal: AbortSignal): Promise<void> {
    const { method, params = {} } = message;
    const post = async (): Promise<IncomingMessage> => {
      const headers = { ...ACCEPT, ...this.#modern.of(version, method, params) };
      return this.#reach.send(method, () => this.#link.request({ method: 'POST', headers, body: line, signal }));
    };
    const onAnswer = (text: string): void => {
      if (method === 'tools/list') this.#modern.learn(text);
    };
    await this.#answer(message, await post(), onAnswer, async (text, { statusCode }) => {
      // Which arguments go into headers is said by the tool's definition, which the client may have had from before.
      if (method !== 'tools/call' || statusCode !== 400 || errorCodeIn(text) !== RPC_CODES.headerMismatch)
        return undefined;
      await this.#modern.ask(this.#link, version, params, { clock: this.#clock, signal: this.#closing.signal });
      return post();
    });
  }

  /** Whether that was all: in the modern era a call is cancelled by closing its response. */
  #cancelled(message: Incoming & { readonly kind: 'notification' }): boolean {
    if (message.method !== 'notifications/cancelled') return false;
    return this.#calls.cancel(cancelledKey(message) ?? '', new Error('cancelled by the client'));
  }

  /** Within the session, or within another when that one is gone: a message that was refused for its session has not run. */
  async #post(
    body: string,
    method: string,
    signal: AbortSignal = this.#closing.signal,
    first = false,
  ): Promise<IncomingMessage> {
    const send = (): Promise<IncomingMessage> => {
      const headers = first ? ACCEPT : this.#session.headers;
      return this.#reach.send(method, () => this.#link.request({ method: 'POST', headers, body, signal }));
    };
    for (let left = MAX_REOPENED; ; left--) {
      const { id } = this.#session;
      const response = await send();
      if (response.statusCode !== 404 || id === undefined || first) return response;
      void this.#link.drain(response, this.#clock);
      if (left === 0) throw new NotSentError('gateway', 'it lost each session that was opened for the call');
      await this.#session.reopen(id);
    }
  }

  /** Hands on what comes, up to the answer. `instead` may give another response in place of a refusal. */
  async #answer(
    message: RequestMessage,
    response: IncomingMessage,
    onAnswer: (text: string) => void,
    instead?: (refusal: string, response: IncomingMessage) => Promise<IncomingMessage | undefined>,
  ): Promise<void> {
    const status = response.statusCode ?? 0;
    const stream = isEventStream(response);
    const idText = idTextOf(message);
    if (status >= 300 && !stream) {
      const text = await refusalText(response, this.#link.incoming, this.#clock);
      const other = await instead?.(text, response);
      if (other !== undefined) return this.#answer(message, other, onAnswer);
      this.#fail(idText, refusalOf(text, response, message.method));
      return;
    }
    const { incoming } = this.#link;
    const [pipe, clock, logger] = [this.#pipe, this.#clock, this.#logger];
    const trusted = this.#options.connect !== undefined;
    await readAnswer(message, response, { incoming, pipe, clock, logger, trusted, onAnswer });
  }

  #onFailure(message: RequestMessage, error: unknown): void {
    this.#fail(idTextOf(message), failureOf(error, this.#logger));
  }

  #fail(idText: string, failure: Failure): void {
    this.#pipe.send(errorText(idText, failure));
  }
}
