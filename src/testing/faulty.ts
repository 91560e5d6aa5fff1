import type { Connection } from '../connection/Connection.js';
import { type Clock, systemClock } from '../core/clock.js';
import { StartError } from '../core/errors.js';
import { checkMs, checkOptions, checkPart, checkText, withDefaults } from '../core/options.js';
import { sleep } from '../core/time/sleep.js';
import type { FaultEvent } from './faults/events.js';
import type { FaultPlan } from './faults/FaultPlan.js';
import { faultEvent } from './faults/faultEvent.js';
import { garbage } from './wire/lies.js';
import { FaultyConnection } from './wire/memory/FaultyConnection.js';

export interface FaultyOptions {
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the connection's own, else the system's clock */
  readonly clock?: Clock;
  /** What a call without `timeoutMs` gets whose answer is lost, in ms. @defaultValue the connection's own, else 60000 */
  readonly timeoutMs?: number;
  /** Who asks on this connection, for rules with a `caller`. @defaultValue none: such rules befall nothing */
  readonly caller?: string;
  /** Told of each fault as it is injected. @defaultValue none */
  readonly onEvent?: (event: FaultEvent) => void;
}

/** How late a slow start is, in ms. */
const SLOW_START_MS = 500;

/**
 * A connection whose calls go wrong as `plan` says, in front of one that works, with what the same faults on a real wire
 * come to: the same errors, counters, timeouts and ends. Give it to a pool by its `wrapConnection` option.
 * @throws StartError when the plan refuses the start; the connection is closed then.
 */
export async function faulty(
  connection: Connection,
  plan: FaultPlan,
  options: FaultyOptions = {},
): Promise<Connection> {
  const { server, limits } = checkOptions('connection', connection, 'a connection');
  const defaults = { clock: limits?.clock ?? systemClock, timeoutMs: limits?.timeoutMs ?? 60_000 };
  const { clock, timeoutMs, caller, onEvent } = withDefaults('faulty', options, defaults, {
    caller: true,
    onEvent: true,
  });
  checkPart('connection', connection, ['request', 'close'], 'a connection');
  checkPart('plan', plan, ['nextStart'], 'a FaultPlan');
  checkMs('timeoutMs', timeoutMs, { infinity: true });
  if (caller !== undefined) checkText('caller', caller);
  const start = plan.nextStart({ server, caller });
  if (start !== undefined) {
    const { fault } = start;
    onEvent?.(faultEvent(start));
    if (fault === 'slowStart') await sleep(clock, start.delayMs ?? SLOW_START_MS);
    if (fault === 'refuse') {
      await connection.close({ graceMs: 0 });
      const detail = { exitCode: start.settings.exitCode ?? 3, signal: null, stderr: ['the fault plan refused it'] };
      throw new StartError(server, 'the fault plan refused it', detail);
    }
  }
  const wrapped = new FaultyConnection(connection, plan, { clock, timeoutMs, caller, onFault: onEvent });
  if (start?.fault === 'noise') wrapped.hear(garbage(start.settings.count ?? 3));
  return wrapped;
}
