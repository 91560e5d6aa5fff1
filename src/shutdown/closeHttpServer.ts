import type { Server } from 'node:http';
import type { Clock } from '../core/clock.js';
import type { CloseOptions } from '../core/close/CloseScope.js';
import { checkMs, checkPart, checkText, withDefaults } from '../core/options.js';
import type { InFlight } from './InFlight.js';
import type { ShutdownPlan } from './ShutdownPlan.js';
import { trackHttpServer } from './TrackedHttpServer.js';

/**
 * Closes a node:http or node:https server without dropping a request: it stops accepting, responses in flight say
 * `Connection: close`, idle connections close at once, upgraded ones and GET event streams are ended, what is left after
 * `graceMs` (default 5000) is destroyed. Call `trackHttpServer(server)` before it listens, so that every connection is
 * known. Rejects with an `AggregateError` that names the requests cut off.
 */
export function closeHttpServer(server: Server, given: CloseOptions & { readonly clock?: Clock } = {}): Promise<void> {
  const { clock, ...options } = withDefaults('closeHttpServer', given, {}, { graceMs: true, clock: true });
  return trackHttpServer(server, clock === undefined ? {} : { clock }).close(options);
}

export interface HttpStepsOptions {
  /** How the steps are called. @defaultValue 'http' */
  readonly name?: string;
  /**
   * Counts the server's requests: it refuses with the server, and connections close only after it has drained.
   * @defaultValue none
   */
  readonly inFlight?: InFlight;
  /** Longest wait for requests in flight, in ms; `Infinity` leaves it to the total. @defaultValue Infinity */
  readonly timeoutMs?: number;
}

/**
 * Adds a server to a plan, as it should be: `Connection: close` on responses from `unready` on, no new connections from
 * `refuse` on, event streams and upgrades ended in `streams`, requests answered and connections closed in `drain`. Call
 * it before the server listens. With `inFlight`, requests on kept connections are answered 503 while others drain.
 */
export function addHttpServer(plan: ShutdownPlan, server: Server, options: HttpStepsOptions = {}): void {
  const defaults = { name: 'http', timeoutMs: Number.POSITIVE_INFINITY };
  const { name, inFlight, timeoutMs } = withDefaults('addHttpServer', options, defaults, { inFlight: true });
  checkPart('plan', plan, ['add'], 'a ShutdownPlan');
  checkText('name', name);
  // Nothing is added when one of the steps would be refused.
  checkMs('timeoutMs', timeoutMs, { infinity: true });
  if (inFlight !== undefined) checkPart('inFlight', inFlight, ['refuse', 'close'], 'an InFlight');
  const tracked = trackHttpServer(server);
  const requests = `${name} requests`;
  plan.add(`${name} last call`, () => tracked.announce(), { phase: 'unready' });
  plan.add(`${name} refuse`, () => refuse(), { phase: 'refuse' });
  plan.add(`${name} streams`, () => tracked.endStreams(), { phase: 'streams' });
  if (inFlight !== undefined) plan.add(requests, inFlight, { phase: 'drain', timeoutMs });
  const after = inFlight === undefined ? [] : [requests];
  plan.add(`${name} connections`, tracked, { phase: 'drain', timeoutMs, after });

  function refuse(): void {
    tracked.refuse();
    inFlight?.refuse();
  }
}
