import type { Call } from '../channel/Call.js';
import type { BodyUse } from '../net/body/BodyUse.js';
import { rpcErrorIn } from '../net/body/statusError.js';
import { CallRequest, type CallTransport } from '../net/CallRequest.js';

/** What a call's POST asks of its transport. */
export interface PostTransport extends CallTransport {
  /** Where messages go: what the stream's `endpoint` event said. */
  readonly postPath: string;
  postHeaders(): string[];
}

/** A call's POST. Being accepted is no answer: that comes on the stream, perhaps even before. */
export class PostExchange extends CallRequest {
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
    const answer = rpcErrorIn(body);
    if (this.status === 401) this.renew(body);
    else if (answer !== undefined && answer.id === this.call.id && this.status < 500) {
      this.#transport.channel.receive({ id: this.call.id, error: answer.error }, this.call);
    } else this.fail(this.refusal(body));
  }
}
