import type { Emitter } from '../../core/events.js';
import type { PoolEvents } from '../McpPool.js';
import { type Routes, WIRES } from './Routes.js';

const EVENTS: readonly (keyof PoolEvents)[] = [
  'state',
  'started',
  'exited',
  'restarted',
  'stderr',
  'notification',
  'orphanRequest',
  'leaked',
];

/** From now until disposed, all that the pools tell is told by `events`, too. */
export function forwardEvents(routes: Routes, events: Emitter<PoolEvents>): Disposable {
  const forward = <K extends keyof PoolEvents>(wire: (typeof WIRES)[number], event: K): Disposable =>
    routes.pools[wire].on(event, (payload) => {
      // A try that fails over one wire is no state of the server's.
      if (event !== 'state' || !routes.undecided.has(payload.server)) events.emit(event, payload);
    });
  const forwards = WIRES.flatMap((wire) => EVENTS.map((event) => forward(wire, event)));
  return {
    [Symbol.dispose]: () => {
      for (const each of forwards) each[Symbol.dispose]();
    },
  };
}
