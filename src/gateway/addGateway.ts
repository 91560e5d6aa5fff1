import { withDefaults } from '../core/options.js';
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
}

/**
 * Adds a gateway to a plan, as it should be: `Connection: close` on responses from `unready` on, no new connections and 503
 * for new calls from `refuse` on, clients' streams ended in `streams`, calls answered in `drain`. The pool comes after it,
 * in `close`. Give `Health({ plan })` to the gateway for `/readyz` to say no from the first moment.
 */
export function addGateway(plan: ShutdownPlan, gateway: Gateway, options: GatewayStepsOptions = {}): void {
  const defaults = { name: 'gateway', timeoutMs: Number.POSITIVE_INFINITY };
  const { name, graceMs, timeoutMs } = withDefaults('addGateway', options, defaults, { graceMs: true });
  plan.add(`${name} last call`, () => gateway.announce(), { phase: 'unready' });
  plan.add(`${name} refuse`, () => gateway.refuse(), { phase: 'refuse' });
  plan.add(`${name} streams`, () => gateway.endStreams(), { phase: 'streams' });
  plan.add(name, gateway, { phase: 'drain', timeoutMs, ...(graceMs !== undefined && { graceMs }) });
}
