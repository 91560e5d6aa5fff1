import { messageOf, NotSentError, OutcomeUnknownError, PoolkitError } from '../../core/errors.js';
import type { BodyUse } from './body/BodyUse.js';
import { headerOf, type RawHeaders } from './body/responseHeaders.js';
import { MAX_RENEWALS } from './CallRequest.js';
import type { Endpoint } from './Endpoint.js';
import { Exchange } from './Exchange.js';

export interface PlainAnswer {
  readonly status: number;
  readonly headers: RawHeaders;
  /** Of a refusal, what was read of it; else empty. */
  readonly body: Buffer;
}

export interface PlainRequest {
  readonly method: 'POST' | 'DELETE';
  /** Another path of the origin than the endpoint's own. */
  readonly path?: string;
  readonly headers: string[];
  readonly body: string | null;
  /** Longest wait for the response's headers, in ms. */
  readonly timeoutMs: number;
}

/** What every POST of a message says of itself, names and values in turn. */
export const POST_HEADERS: readonly string[] = Object.freeze([
  'accept',
  'application/json, text/event-stream',
  'accept-encoding',
  'identity',
  'content-type',
  'application/json',
]);

/** A request of which only the status matters: a notification, a reply, the end of a session. */
export class PlainExchange extends Exchange {
  /** Resolves at a success's headers or a refusal's end; rejects with `ERR_NOT_SENT` or `ERR_OUTCOME_UNKNOWN`. */
  readonly answer: Promise<PlainAnswer>;
  readonly #what: string;
  #resolve!: (answer: PlainAnswer) => void;
  #reject!: (error: Error) => void;
  #sent = false;

  constructor(endpoint: Endpoint, what: string, request: PlainRequest) {
    super(endpoint, 'replies', request.method, request.body);
    this.#what = what;
    this.requestHeaders = request.headers;
    this.path = request.path ?? endpoint.path;
    this.headersTimeoutMs = request.timeoutMs;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.dispatch();
  }

  override giveUp(): void {
    this.end();
    this.#reject(this.#unanswered('it was given up'));
  }

  protected override onSending(): boolean {
    this.#sent = true;
    return true;
  }

  protected override onBegin(): BodyUse {
    if (this.status >= 300) return 'excerpt';
    this.#resolve({ status: this.status, headers: this.responseHeaders, body: Buffer.alloc(0) });
    return 'skip';
  }

  protected override onBody(body: Buffer): void {
    this.#resolve({ status: this.status, headers: this.responseHeaders, body });
  }

  protected override onFailed(error: Error): void {
    this.#reject(error instanceof PoolkitError ? error : this.#unanswered(messageOf(error), error));
  }

  #unanswered(why: string, cause?: Error): PoolkitError {
    const { server } = this.endpoint;
    return this.#sent
      ? new OutcomeUnknownError(server, this.#what, why, { cause })
      : new NotSentError(server, why, cause);
  }
}

/** Sends what `request` makes; when the server refuses the credentials (401) and there are others, again with those. */
export async function submit(
  endpoint: Endpoint,
  what: string,
  request: () => PlainRequest,
  caller?: object,
): Promise<PlainAnswer> {
  for (let sends = 1; ; sends++) {
    const used = endpoint.credentials;
    const answer = await new PlainExchange(endpoint, what, request()).answer;
    if (answer.status !== 401 || sends > MAX_RENEWALS) return answer;
    const challenge = headerOf(answer.headers, 'www-authenticate');
    if (!(await endpoint.renew(used, challenge, caller, sends > 1))) return answer;
  }
}
