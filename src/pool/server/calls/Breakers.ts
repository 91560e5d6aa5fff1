import type { BreakerState } from '../../../concurrent/breaker/breakerOptions.js';
import { CircuitBreaker } from '../../../concurrent/breaker/CircuitBreaker.js';
import { SharedTable } from '../../../concurrent/SharedTable.js';
import { callerName } from '../../../connection/calls/Caller.js';
import type { Params } from '../../../connection/protocol/messages.js';
import { isVote, RpcError } from '../../../core/errors.js';
import { keyText } from '../../../core/text/ownText.js';
import type { Caller } from '../../McpPool.js';
import type { ServerContext } from '../context.js';
import { isServerFailure } from './callPolicy.js';

/** Breakers of one server, beyond which the caller that first named most of them loses those it used longest ago. */
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
  /** Of tools: whose a name is that clients may make up is who named it first. */
  readonly #narrow = new SharedTable<string, CircuitBreaker, string>({ maxWeight: MAX_BREAKERS });

  /** `counts`: whether a failure is one to count, and not one that counts already. */
  constructor(context: ServerContext, counts: (error: unknown) => boolean, onChange: () => void) {
    this.#context = context;
    this.#counts = counts;
    const { events, config, pool } = context;
    this.#onChange = (state, whole) => {
      onChange();
      events.emit('breaker', { server: config.name, state, scope: whole ? 'server' : pool.breakerScope });
    };
    this.main = this.#make(config.name, true);
    this.shared = context.pool.breakerScope === 'server' ? this.main : undefined;
  }

  /** The one a call has to pass. */
  of(method: string, params: Params | undefined, caller: Caller | undefined): CircuitBreaker {
    if (this.shared !== undefined) return this.shared;
    const byTool = this.#context.pool.breakerScope === 'tool';
    const name = byTool ? method === 'tools/call' && params?.['name'] : caller?.principal;
    return typeof name === 'string' ? this.#of(name, byTool ? callerName(caller) : undefined) : this.main;
  }

  /** Whose vote a failure is; undefined where it counts in full, as one does of a program whose calls name no caller. */
  voter(error: unknown, caller: Caller | undefined): string | undefined {
    const own = this.#context.pool.breakerScope === 'principal' && caller?.principal !== undefined;
    return own || !isVote(error) ? undefined : callerName(caller);
  }

  /** The worst state of any. */
  get state(): CircuitBreaker['state'] {
    let worst = this.main.state;
    for (const [, { state }] of this.#narrow) if (state === 'open' || worst === 'closed') worst = state;
    return worst;
  }

  reset(): void {
    this.main.reset();
    this.#narrow.shrink(0);
  }

  #of(given: string, owner = ''): CircuitBreaker {
    const name = keyText(given);
    this.#narrow.use(name);
    const known = this.#narrow.get(name);
    if (known !== undefined) return known;
    // First goes what knows of no failure, of the caller's own names: it is all that most made-up ones come to.
    if (owner !== '' && this.#narrow.weight === MAX_BREAKERS)
      for (const [each, breaker] of this.#narrow)
        if (this.#narrow.ownerOf(each) === owner && breaker.inspect().failuresInRow === 0 && breaker.state === 'closed')
          this.#narrow.delete(each);
    // Errors and logs tell of a tool, and of no principal.
    const { config, pool } = this.#context;
    const made = this.#make(pool.breakerScope === 'tool' ? `${config.name}: ${name}` : config.name, false);
    this.#narrow.set(name, made, owner, 1);
    return made;
  }

  #make(name: string, whole: boolean): CircuitBreaker {
    const { clock, logger, breakerThreshold, breakerResetMs, breakerCountsTimeouts } = this.#context.pool;
    return new CircuitBreaker({
      name,
      threshold: breakerThreshold,
      resetMs: breakerResetMs,
      isFailure: (error) => isServerFailure(error, breakerCountsTimeouts) && this.#counts(error),
      isAnswer: (error) => error instanceof RpcError,
      clock,
      logger,
      onChange: (state) => this.#onChange(state, whole),
    });
  }
}
