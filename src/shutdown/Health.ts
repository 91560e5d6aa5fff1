import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Clock, systemClock } from '../core/clock.js';
import { OptionError } from '../core/errors.js';
import { checkBoolean, checkOptions, checkRecord, checkText, withDefaults } from '../core/options.js';
import { type CheckFunction, type CheckLine, HealthCheck, type HealthCheckOptions } from './HealthCheck.js';

export interface HealthOptions {
  /** The plan whose shutdown makes the process unready. @defaultValue none */
  readonly plan?: { readonly stopping: boolean };
  /** By name; a bare function is a check that is not critical. @defaultValue no checks */
  readonly checks?: Readonly<Record<string, CheckFunction | HealthCheckOptions>>;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

/**
 * `degraded`: a check failed that is not critical; still ready. `unready`: a critical one did. `stopping`: the shutdown
 * has begun. `dead`: a check marked `live` failed.
 */
export type HealthStatus = 'ok' | 'degraded' | 'unready' | 'stopping' | 'dead';

export interface HealthState {
  readonly ok: boolean;
  readonly status: HealthStatus;
  readonly checks: readonly CheckLine[];
}

/** What is known without running a check. */
export interface HealthInspection {
  readonly stopping: boolean;
  /** The names of the checks, in the order they were added. */
  readonly names: readonly string[];
  /** The last finding of each check that has run. */
  readonly last: readonly CheckLine[];
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Whether the process is alive, and whether it should get traffic. Serves `/livez`, `/readyz` and `/healthz` (the same
 * as `/readyz`): 200 or 503, with the state as JSON. `/readyz` says 503 from the first moment of shutdown; `/livez` goes on
 * saying 200, or the platform would kill what is draining. Error messages of checks are shown to every client that may ask.
 */
export class Health {
  readonly #plan: { readonly stopping: boolean } | undefined;
  readonly #clock: Clock;
  readonly #checks = new Map<string, HealthCheck>();

  constructor(options: HealthOptions = {}) {
    const { plan, checks, clock } = withDefaults('Health', options, {}, { plan: true, checks: true, clock: true });
    if (plan !== undefined) checkBoolean('plan.stopping', checkOptions('plan', plan, 'a ShutdownPlan').stopping);
    this.#plan = plan;
    this.#clock = clock ?? systemClock;
    for (const [name, check] of Object.entries(checkRecord('checks', checks ?? {}))) this.add(name, check);
  }

  /** Adds a check; dispose to take it out. @throws OptionError when the name is taken. */
  add(name: string, check: CheckFunction | HealthCheckOptions): Disposable {
    if (this.#checks.has(checkText('name', name)))
      throw new OptionError('name', name, 'a name that no other check has');
    const added = new HealthCheck(name, check, this.#clock);
    this.#checks.set(name, added);
    return {
      [Symbol.dispose]: () => {
        if (this.#checks.get(name) === added) this.#checks.delete(name);
      },
    };
  }

  /** The checks and their last findings, for a debug page: runs none. */
  inspect(): HealthInspection {
    const checks = [...this.#checks.values()];
    const last = checks.flatMap((check) => check.last ?? []);
    return { stopping: this.#plan?.stopping ?? false, names: checks.map(({ name }) => name), last };
  }

  /** Whether only a restart helps: runs the checks marked `live`, in parallel. */
  async live(): Promise<HealthState> {
    const checks = await Promise.all([...this.#checks.values()].filter((each) => each.live).map((each) => each.line()));
    const ok = checks.every((line) => line.ok);
    return { ok, status: ok ? 'ok' : 'dead', checks };
  }

  /** Whether to send traffic: runs every check, in parallel. During shutdown none is run; the lines are the last ones. */
  async ready(): Promise<HealthState> {
    const all = [...this.#checks.values()];
    const checks = this.#plan?.stopping ? [] : await Promise.all(all.map((check) => check.line()));
    // Asked again: it may have begun while the checks ran.
    if (this.#plan?.stopping) {
      return { ok: false, status: 'stopping', checks: all.flatMap((check) => check.last ?? []) };
    }
    if (checks.some((line) => line.critical && !line.ok)) return { ok: false, status: 'unready', checks };
    return { ok: true, status: checks.every((line) => line.ok) ? 'ok' : 'degraded', checks };
  }

  /** For node:http: answers and gives true when the path is one of the three, else leaves the request alone. */
  readonly nodeHandler = (request: IncomingMessage, response: ServerResponse): boolean => {
    const answer = this.#answer(request.method ?? 'GET', request.url ?? '/');
    if (answer === undefined) return false;
    answer
      .then(({ status, headers, body }) => {
        response.writeHead(status, headers);
        response.end(request.method === 'HEAD' ? undefined : body);
      })
      // Its head was sent by another listener already, for example.
      .catch(() => response.destroy());
    return true;
  };

  /** For fetch-style servers; 404 for other paths. */
  readonly fetchHandler = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url);
    const answer = await this.#answer(request.method, pathname);
    if (answer === undefined) return new Response(undefined, { status: 404 });
    const { status, headers, body } = answer;
    return new Response(request.method === 'HEAD' ? undefined : body, { status, headers });
  };

  /** Never rejects. */
  #answer(method: string, url: string): Promise<Answer> | undefined {
    const path = url.split('?', 1)[0];
    const ask = path === '/livez' ? this.live() : path === '/readyz' || path === '/healthz' ? this.ready() : undefined;
    if (ask === undefined) return undefined;
    if (method !== 'GET' && method !== 'HEAD') {
      return Promise.resolve({ status: 405, headers: { Allow: 'GET, HEAD' }, body: '' });
    }
    return ask.then((state) => {
      const body = JSON.stringify(state);
      const headers = {
        'Content-Type': 'application/json',
        'Content-Length': String(Buffer.byteLength(body)),
        'Cache-Control': 'no-store',
      };
      return { status: state.ok ? 200 : 503, headers, body };
    });
  }
}
