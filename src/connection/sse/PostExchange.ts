import { messageOf } from '../../core/errors.js';
import type { Call } from '../channel/Call.js';
import { type Doubted, doubtedRefusal, type SessionDoubts, UNCHECKED } from '../http/refusedBySession.js';
import type { BodyUse } from '../net/body/BodyUse.js';
import { rpcErrorIn } from '../net/body/statusError.js';
import { CallRequest, type CallTransport, whenKnown } from '../net/CallRequest.js';
import { RPC_CODES } from '../protocol/rpcCodes.js';

/** What a call's POST asks of its transport. */
export interface PostTransport extends CallTransport {
  /** Where messages go: what the stream's `endpoint` event said. */
  readonly postPath: string;
  postHeaders(): string[];
  readonly doubts: SessionDoubts;
  /** The server does not know its session any more. */
  sessionLost(): void;
}

/** A call's POST. Being accepted is no answer: that comes on the stream, perhaps even before. */
export class PostExchange extends CallRequest {
  /** Its answer comes on the stream of all. */
  readonly taken = '';
  readonly #transport: PostTransport;

  constructor(transport: PostTransport, call: Call, text: string) {
    super(transport, 'calls', call, text);
    this.#transport = transport;
  }

  protected override prepare(): void {
    this.path = this.#transport.postPath;
    this.requestHeaders = this.#transport.postHeaders();
  }

  protected override onBegin(): BodyUse {
    return this.status < 300 ? 'skip' : 'excerpt';
  }

  protected override onBody(body: Buffer): void {
    if (!this.pending) return;
    const doubted = this.#doubted(body);
    if (this.status === 401) this.renew(body);
    else if (doubted === undefined) this.#stand(body);
    else this.#confirm(doubted, body);
  }

  /** A refusal that may be of its session. */
  #doubted(body: Buffer): Doubted | undefined {
    if (this.status >= 500 || UNCHECKED.has(this.call.method)) return undefined;
    const error = rpcErrorIn(body);
    const unknown = this.status === 404 && error?.code !== RPC_CODES.methodNotFound;
    return unknown
      ? { status: 404, error, mayHaveRun: false }
      : doubtedRefusal(this.status, this.responseHeaders, body);
  }

  #confirm(doubted: Doubted, body: Buffer): void {
    // Refused, it never ran, whatever comes of the connection meanwhile.
    this.#transport.channel.requeue(this.call);
    whenKnown<PostExchange, boolean>(
      this,
      this.#transport.doubts.refuses(this.#transport, doubted),
      (own, lost) => {
        if (!own.pending) return;
        if (lost) own.#transport.sessionLost();
        else own.#stand(body);
      },
      (own, cause) => own.unknown(messageOf(cause)),
    );
  }

  /** The refusal stands. */
  #stand(body: Buffer): void {
    const { channel, clock } = this.#transport;
    if (this.call.phase === 'queued') channel.markSent(this.call, clock.now());
    const answer = rpcErrorIn(body);
    if (answer !== undefined && answer.id === this.call.id && this.status < 500)
      channel.receive({ id: this.call.id, error: answer.error }, this.call);
    else this.fail(this.refusal(body));
  }
}
