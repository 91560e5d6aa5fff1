import { shareOf } from '../../concurrent/Shares.js';
import type { Clock } from '../../core/clock.js';
import {
  confirmAlive,
  isServerFault,
  messageOf,
  NotSentError,
  OutcomeUnknownError,
  PoolkitError,
  ProtocolError,
  UnauthorizedError,
} from '../../core/errors.js';
import type { Call, Carrier } from '../channel/Call.js';
import type { Channel, ChannelTransport } from '../channel/Channel.js';
import { headerOf } from './body/responseHeaders.js';
import { statusError } from './body/statusError.js';
import type { Endpoint, HttpCredentials } from './Endpoint.js';
import { Exchange } from './Exchange.js';
import { brokenProtocol } from './sockets/brokenProtocol.js';
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

  override get share(): string | undefined {
    return shareOf(this.call.options.caller);
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
    else if (brokenProtocol(error)) {
      this.fail(new ProtocolError(server, `its response is not HTTP we take: ${messageOf(error)}`, error));
    } else this.unknown(messageOf(error), error);
  }

  /** Sends it once more. */
  protected resend(): void {
    this.start();
  }

  /** Other credentials are asked for, and it is sent once more if there are any; else the refusal stands. */
  protected renew(body: Buffer): void {
    if (this.#renewals === MAX_RENEWALS) {
      this.fail(this.refusal(body));
      return;
    }
    const again = this.#renewals++ > 0;
    const { server } = this.endpoint;
    this.#transport.channel.requeue(this.call);
    const challenge = headerOf(this.responseHeaders, 'www-authenticate');
    const fresh = this.endpoint.renew(this.#credentials, challenge, this.call.options.caller, again);
    whenKnown<CallRequest, boolean>(
      this,
      fresh.catch((cause: unknown) => {
        // A hook that says itself what is to be done has the word.
        throw cause instanceof UnauthorizedError ? cause : new UnauthorizedError(server, challenge, cause);
      }),
      (own, found) => (found ? own.resend() : own.fail(own.refusal(body))),
      (own, error) =>
        own.fail(error instanceof PoolkitError ? error : new NotSentError(server, messageOf(error), error)),
    );
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

  /** The same unless its answer comes right after, on another way. */
  protected doubted(why: string): void {
    const error = new OutcomeUnknownError(this.endpoint.server, this.call.method, why);
    this.#transport.channel.unread.doubts(this.call, error);
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

/**
 * Goes on with a request once something is known, which may take long. A call keeps its request while it is pending: what was given up
 * meanwhile is not kept by this. Nothing that is handed in may hold `own`, as an error does that is made in it.
 */
export function whenKnown<R extends CallRequest, T>(
  own: R,
  answer: Promise<T>,
  known: (own: R, value: T) => void,
  failed: (own: R, error: Error) => void,
): void {
  const kept = new WeakRef(own);
  const go = (on: (own: R) => void): void => {
    const request = kept.deref();
    if (request !== undefined) on(request);
  };
  answer
    .then((value) => go((request) => known(request, value)))
    .catch((error: unknown) => go((request) => failed(request, error as Error)));
}
