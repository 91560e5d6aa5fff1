import type { Tool } from '@modelcontextprotocol/client';
import { MessageTooLargeError, messageOf, PoolkitError, ProtocolError } from '../../core/errors.js';
import type { Call } from '../channel/Call.js';
import type { RawReply } from '../channel/codec/envelope.js';
import { LongMessage } from '../channel/large/LongMessage.js';
import type { BodyUse } from '../net/body/BodyUse.js';
import type { SseEvent } from '../net/body/events/SseReader.js';
import { mediaTypeOf } from '../net/body/responseHeaders.js';
import { type RefusalError, rpcErrorIn } from '../net/body/statusError.js';
import type { WholeBody } from '../net/body/WholeBody.js';
import { CallRequest, whenKnown } from '../net/CallRequest.js';
import { ResponseTimeout } from '../net/ResponseTimeout.js';
import { NoProgress } from '../net/sockets/brokenProtocol.js';
import { RPC_CODES } from '../protocol/rpcCodes.js';
import { eventIdHeader } from './eventIdHeader.js';
import { answerFor, messageIn, onlyTaken } from './foreignResponses.js';
import type { HttpCallTransport, Session } from './HttpCallTransport.js';
import { type Doubted, doubtedIn, doubtedRefusal, saidOfSession, sessionGone, UNCHECKED } from './refusedBySession.js';

const NO_ANSWER = 'its stream ended without its answer';
/** Where a stream does not say how long to wait before it is resumed, in ms. */
const RETRY_MS = 1_000;
/** However little a stream says: `retry: 0` must not make us ask without a pause. */
const MIN_RETRY_MS = 250;
/** Resumptions in a row that bring no event. */
const MAX_FRUITLESS = 3;

/** One call's POST and whatever comes on its stream, resumed by GET where the legacy era allows it. */
export class CallExchange extends CallRequest {
  /** The session it was sent in. */
  session: Session;
  readonly #transport: HttpCallTransport;
  #tool: Tool | undefined;
  #resent: boolean;
  #refreshed = false;
  /** The value of `last-event-id` that goes on behind the last event; undefined where that had none that could be sent. */
  #resumeAt: string | undefined;
  #retryMs = RETRY_MS;
  #fruitless = 0;
  #resting = false;
  /** The body is JSON, whole. */
  #json = false;
  /** A message came: it has been at work. */
  #heard = false;
  taken: string | undefined;

  constructor(transport: HttpCallTransport, call: Call, text: string) {
    super(transport, call.method === 'subscriptions/listen' ? 'streams' : 'calls', call, text);
    this.#transport = transport;
    this.#tool = call.options.toolDefinition;
    this.#resent = call.options.lastSend === true;
    this.session = transport.session;
  }

  protected override prepare(): void {
    this.session = this.#transport.session;
    this.path = this.endpoint.path;
    this.requestHeaders = this.#transport.headersOf(this.call, this.#tool);
  }

  protected override resend(): void {
    this.#transport.resend(this);
  }

  override linger(): void {
    this.#transport.stream?.letGo(this.call);
    if (this.#resting) this.end();
    else super.linger();
  }

  override end(): void {
    this.#resting = false;
    this.endpoint.wheel.remove(this);
    super.end();
  }

  override onTimeout(): void {
    if (this.#resting) this.#resume();
    else super.onTimeout();
  }

  protected override onBegin(): BodyUse {
    if (this.method === 'POST') this.#transport.begun(this.status, this.call, this.responseHeaders);
    if (this.status >= 300) return 'excerpt';
    const type = mediaTypeOf(this.responseHeaders);
    this.#json = type === 'json' && this.method === 'POST';
    return type === 'events' ? 'events' : this.#json ? 'whole' : 'excerpt';
  }

  override onEvent({ id, event, data }: SseEvent): void {
    this.#fruitless = 0;
    if (id) this.#resumeAt = eventIdHeader(id);
    // A server of HTTP+SSE took the POST for its GET: no answer will come on it.
    if (event === 'endpoint') this.fail(new ProtocolError(this.endpoint.server, 'its stream is one of HTTP+SSE'));
    // An event without data only carries its id.
    if (data === '' || (event !== undefined && event !== 'message')) return;
    const stand = (own: CallExchange): unknown => own.#transport.channel.read(data, own.call);
    if (this.#doubts(doubtedIn(data, this.call.id), stand)) return;
    this.#heard = true;
    stand(this);
  }

  override onRetry(delayMs: number): void {
    this.#retryMs = Math.max(delayMs, MIN_RETRY_MS);
  }

  override onLongEvent({ id, event }: Omit<SseEvent, 'data'>, data: WholeBody): void {
    this.#fruitless = 0;
    if (id) this.#resumeAt = eventIdHeader(id);
    if (event !== undefined && event !== 'message') return;
    this.#heard = true;
    const bytes = data.take();
    if (!data.taken) this.#transport.channel.read(bytes, this.call, data.reply);
  }

  override onLong(parts: readonly Buffer[]): LongMessage | undefined {
    if (this.call.options.raw !== true) return undefined;
    return new LongMessage(parts, true, (all, scan) => {
      const reply = this.#transport.channel.large.begin(all, scan, this.flow, this.call);
      return reply && { push: (part) => reply.push(part), end: () => reply.end() };
    });
  }

  protected override onBody(body: Buffer, reply?: RawReply | null): void {
    if (!this.pending) return;
    if (this.method === 'GET') this.#unresumed(`resuming its stream got ${this.status}`);
    else if (this.status >= 300) this.#refused(body);
    else if (this.#json && body.length > 0) this.#answered(body, reply);
    else if (onlyTaken(this.status, body)) this.#taken(() => this.fail(this.refusal(body)));
    else this.fail(this.refusal(body));
  }

  /** Its answer may come on the stream of its session. */
  #taken(fail: () => void): boolean {
    const { stream, session } = this.#transport;
    this.taken = `: its response (${this.status}) had none, nor the stream of its session`;
    if (session === this.session && stream?.awaits(this.call, fail) === true) return true;
    fail();
    return false;
  }

  protected override onStreamEnd(error: Error | undefined): void {
    if (!this.pending) return;
    if (error instanceof NoProgress) {
      super.onFailed(error);
      return;
    }
    if (this.#transport.era === 'legacy' && this.#resumeAt !== undefined) {
      this.#rest();
      return;
    }
    if (error !== undefined) this.unknown(`its stream was cut: ${messageOf(error)}`, error);
    else if (this.#heard) this.unknown(NO_ANSWER);
    // More often it was cut than its answer is to come elsewhere.
    else if (this.#taken(() => this.unknown(NO_ANSWER))) this.doubted(NO_ANSWER);
  }

  protected override onFailed(error: Error): void {
    if (!this.pending) return;
    if (error instanceof ResponseTimeout) this.#transport.cancel(this.call, error.message);
    const socket = !(error instanceof PoolkitError) && this.call.phase === 'sent';
    if (socket && this.method === 'GET' && ++this.#fruitless < MAX_FRUITLESS) this.#rest();
    else super.onFailed(error);
  }

  protected override onTooLarge(bytes: number, maxBytes: number): void {
    this.fail(new MessageTooLargeError(this.endpoint.server, 'incoming', bytes, maxBytes));
  }

  /** A whole JSON body: the answer, or an array that holds it. */
  #answered(body: Buffer, reply: RawReply | null | undefined): void {
    if (this.call.options.raw === true && this.#transport.channel.receiveBytes(body, reply)) return;
    let message: unknown;
    try {
      message = messageIn(this, body, this.call);
    } catch (error) {
      this.fail(error as Error);
      return;
    }
    const stand = (own: CallExchange): void => {
      own.#transport.channel.receive(answerFor(own.call.id, message), own.call, body);
      const fail = (): void => own.unknown('its response held no answer');
      if (own.pending && own.status === 202) own.#taken(fail);
      else if (own.pending) fail();
    };
    if (!this.#doubts(doubtedIn(body, this.call.id), stand)) stand(this);
  }

  #refused(body: Buffer): void {
    const error = rpcErrorIn(body);
    const inSession = this.#transport.era === 'legacy' && this.session.id !== undefined;
    const said = inSession ? saidOfSession(this.status, body, this.call.id) : undefined;
    const stand = (own: CallExchange): void => own.#stand(body, error);
    if (said?.isGone === true) this.#sessionGone();
    else if (said !== undefined) {
      this.#confirm(this.#transport.confirmLost(this.session), stand, said.mayHaveRun);
    } else if (this.status === 400 && error?.code === RPC_CODES.headerMismatch && this.#refreshTool(body, error))
      return;
    else if (!this.#doubts(doubtedRefusal(this.status, this.responseHeaders, body), stand)) stand(this);
  }

  /** The refusal stands. */
  #stand(body: Buffer, error: RefusalError | undefined): void {
    const answers =
      error !== undefined &&
      (this.status === 500 ? error.id === this.call.id : this.status < 500 && ![401, 403, 429].includes(this.status)) &&
      (error.id === this.call.id || error.id === null);
    if (answers) this.#transport.channel.receive({ id: this.call.id, error: error.error }, this.call, body);
    else if (this.status === 401) this.renew(body);
    else this.fail(this.refusal(body));
  }

  /** Whether a `ping` is to tell if it was its session that refused it: one that has said something was taken. */
  #doubts(doubted: Doubted | undefined, stand: (own: CallExchange) => unknown): boolean {
    const taken = this.#heard || this.method === 'GET' || this.#transport.era === 'modern';
    if (doubted === undefined || taken || UNCHECKED.has(this.call.method)) return false;
    this.end();
    this.#confirm(this.#transport.doubts.refuses(this.session, doubted), stand, doubted.mayHaveRun);
    return true;
  }

  #confirm(lost: Promise<boolean>, stand: (own: CallExchange) => unknown, mayHaveRun = false): void {
    whenKnown<CallExchange, boolean>(
      this,
      lost,
      (own, isLost) => {
        if (!own.pending) return;
        if (isLost) own.#sessionGone(mayHaveRun);
        else stand(own);
      },
      (own, cause) => own.unknown(messageOf(cause)),
    );
  }

  /** Refused by its session it never ran: it goes out once more, in the next one. What that one refuses too is no matter of sessions. */
  #sessionGone(mayHaveRun = false): void {
    const { channel, settings } = this.#transport;
    const again = !this.#resent && settings.resendOnSessionLoss && !this.#transport.isNew(this.session) && !mayHaveRun;
    if (mayHaveRun) this.unknown('its session ended');
    else if (!again) this.fail(sessionGone(this.endpoint.server));
    else {
      this.#resent = true;
      this.#resumeAt = undefined;
      channel.requeue(this.call, true);
    }
    this.#transport.sessionLost(this.session);
    if (again) this.resend();
  }

  /** The definition it went by is outdated: asks for the newest and sends the call once more. */
  #refreshTool(body: Buffer, error: RefusalError): boolean {
    const { refreshTool } = this.#transport.settings;
    const name = this.call.params?.['name'];
    if (this.#refreshed || refreshTool === undefined || this.call.method !== 'tools/call') return false;
    this.#refreshed = true;
    whenKnown<CallExchange, Tool | undefined>(
      this,
      new Promise((resolve) => resolve(refreshTool(String(name)))),
      (own, tool) => {
        if (!own.pending) return;
        own.#tool = tool;
        if (tool === undefined) return own.#stand(body, error);
        own.#transport.channel.requeue(own.call);
        own.resend();
      },
      (own, cause) => {
        const { logger } = own.#transport.settings;
        logger.warn({ server: own.endpoint.server, cause }, 'a tool could not be refreshed');
        own.#stand(body, error);
      },
    );
    return true;
  }

  #rest(): void {
    this.#resting = true;
    // It was read.
    this.requestBody = null;
    this.endpoint.wheel.add(this, this.#retryMs);
  }

  #resume(): void {
    this.#resting = false;
    if (!this.pending) return;
    const inVain = ++this.#fruitless > MAX_FRUITLESS;
    if (!inVain && this.session === this.#transport.session) {
      this.lane = 'streams';
      this.method = 'GET';
      this.path = this.endpoint.path;
      this.requestHeaders = this.#transport.streamHeaders(this.#resumeAt);
      this.dispatch();
    } else this.#unresumed(inVain ? 'it was resumed in vain' : 'its session is gone');
  }

  #unresumed(why: string): void {
    this.unknown(`${NO_ANSWER}; ${why}`);
  }
}
