import { saidOfSession } from '../../../connection/http/refusedBySession.js';
import { statusError } from '../../../connection/net/body/statusError.js';
import type { Clock, Timer } from '../../../core/clock.js';
import {
  NotSentError,
  OutcomeUnknownError,
  type PoolkitError,
  ProtocolError,
  UnauthorizedError,
} from '../../../core/errors.js';
import type { Era } from '../../../registry/config/ServerConfig.js';
import type { Injection } from '../../faults/FaultPlan.js';
import { retryAfterOf } from '../http/statusReply.js';
import type { WireCall } from '../WireCall.js';

interface MemoryFaultsOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly era: Era;
  readonly fail: (id: unknown, error: unknown) => void;
}

/** What faults of stdio and HTTP come to where there is no such wire: the table of `docs/faults.md`, in code. */
export class MemoryFaults {
  readonly #options: MemoryFaultsOptions;
  readonly #timers = new Set<Timer>();
  #reads = true;
  #refusedUntilMs = 0;
  /** Another token would come with another connection. */
  #expired = false;

  constructor(options: MemoryFaultsOptions) {
    this.#options = options;
  }

  /** Whether the server still reads what it is sent. */
  get reads(): boolean {
    return this.#reads;
  }

  /** What every call gets at this time, when there is such a thing. */
  get refusal(): PoolkitError | undefined {
    if (this.#expired) return new UnauthorizedError(this.#options.server, 'Bearer error="invalid_token"');
    if (this.#options.clock.now() >= this.#refusedUntilMs) return undefined;
    return new NotSentError(this.#options.server, 'the connection was refused');
  }

  /** Whether it did what the fault of this call asks for. */
  took(call: WireCall, proceed: () => void, onceTaken: (die: () => void) => void): boolean {
    const { injection } = call;
    return injection !== undefined && this.#took(call, injection, proceed, onceTaken);
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  #took(call: WireCall, injection: Injection, proceed: () => void, onceTaken: (die: () => void) => void): boolean {
    const { id, method } = call.request;
    const { server, era } = this.#options;
    const { fault, settings, delayMs } = injection;
    // The server acts, and its answer is lost.
    const lost = (error: Error): true => {
      onceTaken(() => this.#options.fail(id, error));
      proceed();
      return true;
    };
    const unknown = (why: string): true => lost(new OutcomeUnknownError(server, method, why));
    switch (fault) {
      case 'stopReading':
        proceed();
        this.#reads = false;
        return true;
      case 'closeOutput':
        onceTaken(() => call.port.die({ why: 'it closed its output' }));
        proceed();
        return true;
      case 'stallEventLoop':
        this.#later(delayMs ?? 200, proceed);
        return true;
      case 'refused':
        this.#refusedUntilMs = this.#options.clock.now() + (delayMs ?? 500);
        this.#options.fail(id, new OutcomeUnknownError(server, method, 'its connection was cut'));
        return true;
      case 'resetBeforeHeaders':
        return unknown('its connection was reset');
      case 'resetAfterHeaders':
      case 'brokenChunk':
        return unknown('its stream was cut');
      case 'cutStream':
        if (settings.at !== 'after') return unknown('its stream ended without its answer');
        proceed();
        return true;
      case 'status': {
        const { status = 500, message = 'the fault plan refused it' } = settings;
        const body = Buffer.from(message);
        // A session that is lost is made anew, and the call goes out once more.
        if (era === 'legacy' && saidOfSession(status, body)?.isGone === true) {
          proceed();
          return true;
        }
        const wallNowMs = this.#options.clock.wallNow();
        const after = retryAfterOf(settings, wallNowMs);
        const headers = after === undefined ? [] : [Buffer.from('retry-after'), Buffer.from(after)];
        this.#options.fail(id, statusError({ server, method, status, headers, body, wallNowMs }));
        return true;
      }
      case 'redirect':
        this.#options.fail(id, new ProtocolError(server, 'it answered with a redirect to another origin'));
        return true;
      case 'contentType':
        return lost(new ProtocolError(server, 'its answer has another content type'));
      case 'endlessHeaders':
        return lost(new ProtocolError(server, 'its response has headers without end'));
      case 'slowDrip':
        this.#later(delayMs ?? 5, proceed);
        return true;
      case 'retry':
        if (era === 'modern') return unknown('its stream ended without its answer');
        proceed();
        return true;
      case 'sessionLost':
        if (settings.at === 'inside') return unknown('its session is gone');
        proceed();
        return true;
      case 'tokenExpired':
        this.#expired = true;
        if (this.refusal !== undefined) this.#options.fail(id, this.refusal);
        return true;
      default:
        return false;
    }
  }

  #later(ms: number, work: () => void): void {
    const timer = this.#options.clock.setTimer(
      () => {
        this.#timers.delete(timer);
        work();
      },
      ms,
      { ref: true },
    );
    this.#timers.add(timer);
  }
}
