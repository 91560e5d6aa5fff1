import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { Call } from '../channel/Call.js';
import type { Channel } from '../channel/Channel.js';
import type { ReplyPath } from '../channel/ChannelOptions.js';
import { cancelledNotice } from '../channel/codec/encode.js';
import { SessionDoubts } from '../http/refusedBySession.js';
import { statusError } from '../net/body/statusError.js';
import type { Endpoint } from '../net/Endpoint.js';
import { type PlainAnswer, type PlainRequest, POST_HEADERS, submit } from '../net/PlainExchange.js';
import { PendingReplies } from '../net/replies/PendingReplies.js';
import { PostExchange, type PostTransport } from './PostExchange.js';

const REPLY_TIMEOUT_MS = 30_000;

/** A channel's transport over legacy HTTP+SSE: a POST out for each message, everything back on the one stream. */
export class SseTransport implements PostTransport {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  postPath = '';
  readonly #replies: PendingReplies;
  readonly doubts: SessionDoubts = new SessionDoubts(this);
  readonly sessionLost: () => void;
  #channel: Channel | undefined;
  #headers: { readonly generation: number; readonly list: string[] } | undefined;

  constructor(endpoint: Endpoint, clock: Clock, logger: Logger, onDead: (why: string) => void) {
    this.endpoint = endpoint;
    this.clock = clock;
    this.#replies = PendingReplies.to(endpoint, logger, onDead);
    this.sessionLost = () => onDead('its session is gone');
  }

  get channel(): Channel {
    if (this.#channel === undefined) throw new Error('a transport is used only after its channel was set');
    return this.#channel;
  }

  set channel(channel: Channel) {
    this.#channel = channel;
  }

  send(call: Call, text: string): void {
    const exchange = new PostExchange(this, call, text);
    call.carrier = exchange;
    exchange.start();
  }

  pathOf(call: Call | undefined): ReplyPath {
    return { caller: call?.options.caller };
  }

  post(text: string, path?: ReplyPath): boolean {
    return this.#replies.send(text, () => this.#submit('a reply', text, path?.caller));
  }

  /** The stream is the session. */
  isLost(): boolean {
    return false;
  }

  /** Says so in a request of its own, and lets go of the call's, whose body may not be read. */
  cancel(call: Call, reason: string): void {
    if (call.method !== 'initialize') this.#tellCancelled(cancelledNotice(call, reason), call.options.caller);
    call.carrier?.end();
  }

  #tellCancelled(text: string, caller: object | undefined): void {
    // It may wait long: not with the call, which may be large.
    this.#replies.cancel(caller, () => this.#submit('a reply', text, caller));
  }

  /** Resolves when the server accepted it. */
  async notify(method: string, text: string, caller?: object): Promise<void> {
    const { server } = this.endpoint;
    const { status, headers, body } = await this.#submit(method, text, caller);
    if (status >= 300) throw statusError({ server, method, status, headers, body, wallNowMs: this.clock.wallNow() });
  }

  isWell(method: string): Promise<boolean> {
    return this.doubts.isWell(this, method);
  }

  postHeaders(): string[] {
    const { generation, headers } = this.endpoint;
    if (this.#headers?.generation !== generation) {
      this.#headers = { generation, list: [...POST_HEADERS, ...headers] };
    }
    return this.#headers.list;
  }

  #submit(what: string, text: string, caller: object | undefined): Promise<PlainAnswer> {
    const request = (): PlainRequest => ({
      method: 'POST',
      path: this.postPath,
      headers: this.postHeaders(),
      body: text,
      timeoutMs: REPLY_TIMEOUT_MS,
    });
    return submit(this.endpoint, what, request, caller);
  }
}
