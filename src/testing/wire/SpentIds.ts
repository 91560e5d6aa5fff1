import type { RpcId } from './messages.js';

/**
 * Which id of a client's calls has been answered: of one wire, or of all POSTs without a session, which do not tell whose they are. There an id may
 * be that of another client's call that has not come yet.
 */
export class SpentIds {
  #last: RpcId | undefined;
  /** Of each wire, whether a call of that id is in flight on it. */
  readonly #wires = new Set<(id: RpcId) => boolean>();

  /** A wire that shares this; it leaves when it closes. */
  join(inFlight: (id: RpcId) => boolean): Disposable {
    this.#wires.add(inFlight);
    return { [Symbol.dispose]: () => void this.#wires.delete(inFlight) };
  }

  /** The call that was answered last, where no wire has one of that id in flight: clients count anew on each connection. */
  get last(): RpcId | undefined {
    if (this.#last === undefined) return undefined;
    for (const inFlight of this.#wires) if (inFlight(this.#last)) return undefined;
    return this.#last;
  }

  answered(id: RpcId): void {
    this.#last = id;
  }
}
