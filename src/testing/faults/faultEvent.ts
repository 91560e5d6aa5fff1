import { epochNow, type FaultEvent } from './events.js';
import type { Injection } from './FaultPlan.js';

/** The injection as an event, in the moment it happens. */
export function faultEvent({ server, fault, rule, call, method, tool }: Injection): FaultEvent {
  return {
    type: 'fault',
    atMs: epochNow(),
    server,
    pid: process.pid,
    fault,
    ...(rule !== undefined && { rule }),
    ...(call !== undefined && { call }),
    ...(method !== undefined && { method }),
    ...(tool !== undefined && { tool }),
  };
}
