import type { BreakerState } from '../../../concurrent/breaker/breakerOptions.js';
import { CircuitBreaker } from '../../../concurrent/breaker/CircuitBreaker.js';
import { callerName } from '../../../connection/calls/Caller.js';
import type { Params } from '../../../connection/protocol/messages.js';
import { isVote, RpcError } from '../../../core/errors.js';
import { keyText } from '../../../core/text/ownText.js';
import type { Caller } from '../../McpPool.js';
import type { ServerContext } from '../context.js';
import { isServerFailure } from './callPolicy.js';

/** Breakers of one server beyond which the one unused longest is forgotten. */
const MAX_BREAKERS = 1_000;

/** The breakers of one server: one, or one for each principal or tool, as `breakerScope` says. */
export class Breakers {
  /** Of the whole server; with a narrower scope, of what belongs to no principal or tool. */
  readonly main: CircuitBreaker;
  /** The one of all calls, if they share one. */
  readonly shared: CircuitBreaker | undefined;
  readonly #context: ServerContext;
  readonly #counts: (error: unknown) => boolean;
  readonly #onChange: (state: BreakerState, whole: boolean) => void;
  /** The least recently used first. */
  readonly #narrow = new Map<string, CircuitBreaker>();

  /** `counts`: whether a failure is one to count, and not one that counts already. */
  constructor(context: ServerContext, counts: (error: unknown) => boolean, onChange: () => void) {
    this.#context = context;
    this.#counts = counts;
    const { events, config, pool } = context;
    const { breakerScope } = pool;
    this.#onChange = (state, whole) => {
      onChange();
      events.emit('breaker', { server: config.name, state, scope: whole ? 'server' : breakerScope });
    };
    this.main = this.#make(context.config.name);
    this.shared = context.pool.breakerScope === 'server' ? this.main : undefined;
  }

  /** The one a call has to pass. */
  of(method: string, params: Params | undefined, caller: Caller | undefined): CircuitBreaker {
    const { breakerScope } = this.#context.pool;
    if (breakerScope === 'server') return this.main;
    const name =
      breakerScope === 'principal' ? caller?.principal : method === 'tools/call' ? params?.['name'] : undefined;
    return typeof name === 'string' ? this.#of(name) : this.main;
  }

  /** Whose vote a failure is; undefined where it counts in full, as one does of a program whose calls name no caller. */
  voter(error: unknown, caller: Caller | undefined): string | undefined {
    if (!isVote(error)) return undefined;
    const own = this.#context.pool.breakerScope === 'principal' && caller?.principal !== undefined;
    return own ? undefined : callerName(caller);
  }

  /** The worst state of any. */
  get state(): CircuitBreaker['state'] {
    let worst = this.main.state;
    for (const { state } of this.#narrow.values()) if (state === 'open' || worst === 'closed') worst = state;
    return worst;
  }

  reset(): void {
    this.main.reset();
    this.#narrow.clear();
  }

  #of(given: string): CircuitBreaker {
    const name = keyText(given);
    const breaker = this.#narrow.get(name) ?? this.#make(`${this.#context.config.name}: ${name}`);
    this.#narrow.delete(name);
    this.#narrow.set(name, breaker);
    const [oldest] = this.#narrow.keys();
    if (this.#narrow.size > MAX_BREAKERS && oldest !== undefined) this.#narrow.delete(oldest);
    return breaker;
  }

  #make(name: string): CircuitBreaker {
    const { clock, logger, breakerThreshold, breakerResetMs, breakerCountsTimeouts } = this.#context.pool;
    return new CircuitBreaker({
      name,
      threshold: breakerThreshold,
      resetMs: breakerResetMs,
      isFailure: (error) => isServerFailure(error, breakerCountsTimeouts) && this.#counts(error),
      isAnswer: (error) => error instanceof RpcError,
      clock,
      logger,
      onChange: (state) => this.#onChange(state, name === this.#context.config.name),
    });
  }
}
