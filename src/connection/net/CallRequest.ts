import type { Clock } from '../../core/clock.js';
import {
  confirmAlive,
  isServerFault,
  messageOf,
  NotSentError,
  OutcomeUnknownError,
  PoolkitError,
  UnauthorizedError,
} from '../../core/errors.js';
import type { Call, Carrier } from '../channel/Call.js';
import type { Channel, ChannelTransport } from '../channel/Channel.js';
import { headerOf } from './body/responseHeaders.js';
import { statusError } from './body/statusError.js';
import type { Endpoint, HttpCredentials } from './Endpoint.js';
import { Exchange } from './Exchange.js';
import type { Lane } from './sockets/HttpDispatchers.js';

/** A channel's transport whose calls are requests of their own. */
export interface CallTransport extends ChannelTransport {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  channel: Channel;
  /** Whether the server, which failed a call of `method`, answers another request now. */
  isWell(method: string): Promise<boolean>;
}

/** The second, so that credentials which another caller's context brought do not stand in the way of this one's. */
export const MAX_RENEWALS = 2;

/** One call's POST: sent once, and again only where it was refused unread. Fails its call with the truth. */
export abstract class CallRequest extends Exchange implements Carrier {
  protected readonly call: Call;
  readonly #transport: CallTransport;
  #credentials: HttpCredentials | undefined;
  #renewals = 0;

  constructor(transport: CallTransport, lane: Lane, call: Call, text: string) {
    super(transport.endpoint, lane, 'POST', text);
    this.#transport = transport;
    this.call = call;
  }

  /** Path and headers as they are now. @throws PoolkitError for a call that cannot be sent */
  protected abstract prepare(): void;

  /** Sends the call off, or off again; one that has settled meanwhile is not sent. */
  start(): void {
    const { call } = this;
    if (call.phase === 'settled') return;
    this.#credentials = this.endpoint.credentials;
    this.endpoint.caller = call.options.caller ?? this.endpoint.caller;
    try {
      this.prepare();
    } catch (error) {
      this.onFailed(error as Error);
      return;
    }
    this.dispatch();
    // With a free socket it is on its way by now.
    if (call.phase === 'queued') this.#transport.channel.markWaiting(call);
  }

  protected get pending(): boolean {
    return this.call.phase !== 'settled';
  }

  protected override onSending(): boolean {
    if (this.call.phase === 'queued') this.#transport.channel.markSent(this.call, this.#transport.clock.now());
    return this.pending;
  }

  protected override onFailed(error: Error): void {
    const { server } = this.endpoint;
    if (error instanceof PoolkitError) this.fail(error);
    else if (this.call.phase === 'queued') this.fail(new NotSentError(server, messageOf(error), error));
    else this.unknown(messageOf(error), error);
  }

  /** Other credentials are asked for, and `resend` is called if there are any; else the refusal stands. */
  protected renew(refusal: PoolkitError, resend: () => void): void {
    if (this.#renewals === MAX_RENEWALS) {
      this.fail(refusal);
      return;
    }
    const again = this.#renewals++ > 0;
    this.#transport.channel.requeue(this.call);
    const challenge = headerOf(this.responseHeaders, 'www-authenticate');
    this.endpoint
      .renew(this.#credentials, challenge, this.call.options.caller, again)
      .then(
        (fresh) => {
          if (fresh) resend();
          else this.fail(refusal);
        },
        (cause: unknown) => {
          // A hook that says itself what is to be done has the word.
          this.fail(
            cause instanceof UnauthorizedError ? cause : new UnauthorizedError(this.endpoint.server, challenge, cause),
          );
        },
      )
      .catch((error: unknown) => this.fail(new NotSentError(this.endpoint.server, messageOf(error), error)));
  }

  /** What its caller may bring about at will, on a server that is well, fails it once it is known whether the server answers a `ping`. */
  protected fail(error: Error): void {
    const { channel } = this.#transport;
    if (!isServerFault(error)) {
      channel.failCall(this.call, error);
      return;
    }
    void this.#transport.isWell(this.call.method).then((isWell) => {
      if (isWell) confirmAlive(error);
      channel.failCall(this.call, error);
    });
  }

  protected unknown(why: string, cause?: Error): void {
    this.fail(new OutcomeUnknownError(this.endpoint.server, this.call.method, why, { cause }));
  }

  /** What this response means for the call, being no answer. */
  protected refusal(body: Buffer): PoolkitError {
    return statusError({
      server: this.endpoint.server,
      method: this.call.method,
      status: this.status,
      headers: this.responseHeaders,
      body,
      wallNowMs: this.#transport.clock.wallNow(),
    });
  }
}
