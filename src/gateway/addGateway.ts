import { systemClock } from '../core/clock.js';
import { checkMs, checkPart, checkText, withDefaults } from '../core/options.js';
import { sleep } from '../core/time/sleep.js';
import type { ShutdownPlan } from '../shutdown/ShutdownPlan.js';
import type { Gateway } from './Gateway.js';

export interface GatewayStepsOptions {
  /** How the steps are called. @defaultValue 'gateway' */
  readonly name?: string;
  /**
   * Longest wait for calls in flight, in ms, from 0 (they fail at once).
   * @defaultValue nine tenths of what the plan has for it
   */
  readonly graceMs?: number;
  /** Longest run of the last step, in ms; `Infinity` leaves it to the total. @defaultValue Infinity */
  readonly timeoutMs?: number;
  /**
   * For so long it refuses new calls with 503 while it still listens, in ms, from 0. A load balancer that passes such calls on to another
   * replica, and leaves one that refuses alone, has sent nothing by then to a port that closes. @defaultValue 0
   */
  readonly refusingMs?: number;
}

/**
 * Adds a gateway to a plan, as it should be: `Connection: close` on responses from `unready` on, no new connections and 503
 * for new calls from `refuse` on, clients' streams ended in `streams`, calls answered in `drain`. The pool comes after it,
 * in `close`. Give `Health({ plan })` to the gateway for `/readyz` to say no from the first moment.
 */
export function addGateway(plan: ShutdownPlan, gateway: Gateway, options: GatewayStepsOptions = {}): void {
  const defaults = { name: 'gateway', timeoutMs: Number.POSITIVE_INFINITY, refusingMs: 0 };
  const { name, graceMs, timeoutMs, refusingMs } = withDefaults('addGateway', options, defaults, { graceMs: true });
  checkMs('refusingMs', refusingMs);
  // Nothing is added when one of the steps would be refused.
  checkMs('timeoutMs', timeoutMs, { infinity: true });
  if (graceMs !== undefined) checkMs('graceMs', graceMs, { infinity: true });
  checkText('name', name);
  checkPart('plan', plan, ['add'], 'a ShutdownPlan');
  checkPart('gateway', gateway, ['announce', 'refuse', 'endStreams', 'close'], 'a Gateway');
  plan.add(`${name} last call`, () => gateway.announce(), { phase: 'unready' });
  plan.add(`${name} refuse`, ({ signal }) => refuse(gateway, refusingMs, signal), { phase: 'refuse' });
  plan.add(`${name} streams`, () => gateway.endStreams(), { phase: 'streams' });
  plan.add(name, gateway, { phase: 'drain', timeoutMs, ...(graceMs !== undefined && { graceMs }) });
}

async function refuse(gateway: Gateway, refusingMs: number, signal: AbortSignal): Promise<void> {
  gateway.refuse({ listening: refusingMs > 0 });
  if (refusingMs === 0) return;
  // A shutdown that is forced waits for no one.
  await sleep(systemClock, refusingMs, { signal }).catch(() => undefined);
  gateway.refuse();
}
