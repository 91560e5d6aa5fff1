import { randomUUID } from 'node:crypto';
import { type EffectEvent, epochNow, goesOn, type KitEvent, stampOf } from '../faults/events.js';
import { ACTING_METHODS } from '../faults/rule/FaultRule.js';
import type { RpcId, RpcRequest } from '../wire/messages.js';

/** Tells what a proxy handed to a server and what came of it, as a fake server tells what it did. */
export class EffectTally {
  readonly #server: string;
  readonly #tell: (event: KitEvent) => void;
  readonly #running = new Map<RpcId, Omit<EffectEvent, 'atMs' | 'phase'>>();

  constructor(server: string, tell: (event: KitEvent) => void) {
    this.#server = server;
    this.#tell = tell;
  }

  /** The request goes to the server now. */
  asked({ id, method, params }: RpcRequest, session: string | undefined): void {
    if (!ACTING_METHODS.has(method)) return;
    const call = stampOf(params);
    const name = params?.['name'];
    const effect = {
      type: 'effect' as const,
      server: this.#server,
      pid: process.pid,
      ...(session !== undefined && { session }),
      ...(call !== undefined && { call }),
      effect: randomUUID(),
      method,
      ...(typeof name === 'string' && { tool: name }),
      ...(goesOn(params) && { goesOn: true as const }),
    };
    this.#running.set(id, effect);
    this.#tell({ ...effect, atMs: epochNow(), phase: 'begin' });
  }

  answered(id: RpcId): void {
    this.#over(id, 'end');
  }

  /** The server was told that the call is given up. */
  cancelled(id: RpcId): void {
    this.#over(id, 'cancelled');
  }

  #over(id: RpcId, phase: 'end' | 'cancelled'): void {
    const effect = this.#running.get(id);
    if (!this.#running.delete(id) || effect === undefined) return;
    this.#tell({ ...effect, atMs: epochNow(), phase });
  }
}
