import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../core/clock.js';
import type { McpPool } from '../../pool/McpPool.js';
import { Health } from '../../shutdown/Health.js';

const PATH = /^\/(livez|readyz|healthz)(\?|$)/;
const DOWN: ReadonlySet<string> = new Set(['degraded', 'failed']);
/** How long a state is remembered, in ms: of many servers, for many that ask at once, to look at each takes seconds. */
const CACHE_MS = 100;

/** Answers the health paths, with a check for each server the pool has then. One that is down makes us no less ready. */
export class ServerChecks implements Disposable {
  readonly #health: Health;
  readonly #pool: McpPool;
  readonly #checks = new Map<string, Disposable>();

  constructor(health: Health, pool: McpPool) {
    this.#health = health;
    this.#pool = pool;
  }

  /** Whether a request is about health. */
  concerns(url: string): boolean {
    return PATH.test(url);
  }

  /** Answers. Why a server is down is not shown to every client that may ask. */
  handle(request: IncomingMessage, response: ServerResponse): void {
    const servers = new Set(this.#pool.servers());
    for (const [server, check] of this.#checks) {
      if (servers.has(server)) continue;
      check[Symbol.dispose]();
      this.#checks.delete(server);
    }
    for (const server of servers) {
      if (!this.#checks.has(server)) this.#checks.set(server, this.#add(server));
    }
    this.#health.nodeHandler(request, response);
  }

  [Symbol.dispose](): void {
    for (const check of this.#checks.values()) check[Symbol.dispose]();
    this.#checks.clear();
  }

  #add(server: string): Disposable {
    const check = (): void => {
      const state = this.#pool.state(server);
      if (DOWN.has(state)) throw new Error(state);
    };
    return this.#health.add(`server ${server}`, { check, cacheMs: CACHE_MS });
  }
}

/** Of a gateway that is given none: ready as long as it does not refuse. */
export function healthOf(work: { readonly refusing: boolean }, clock: Clock): Health {
  const plan = {
    get stopping() {
      return work.refusing;
    },
  };
  return new Health({ plan, clock });
}
