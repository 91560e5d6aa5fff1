import type { RpcId } from './messages.js';

/** What a server is remembered for beyond one call: shared by wires that are one to a client, as POSTs without a session are. */
export class WireMemory {
  /** Tools that are gone. */
  readonly vanished = new Set<string>();
  /** The call that was answered last. */
  lastId: RpcId | undefined;
  /** Of each wire, whether a call of that id is in flight on it. */
  readonly #wires = new Set<(id: RpcId) => boolean>();
  #held: (() => void)[] = [];

  /** A wire that shares this; it leaves when it closes. */
  join(inFlight: (id: RpcId) => boolean): Disposable {
    this.#wires.add(inFlight);
    return { [Symbol.dispose]: () => void this.#wires.delete(inFlight) };
  }

  /** The call that was answered last, where no wire has one of that id in flight: clients count anew on each connection. */
  get spentId(): RpcId | undefined {
    const { lastId } = this;
    if (lastId === undefined) return undefined;
    for (const inFlight of this.#wires) if (inFlight(lastId)) return undefined;
    return lastId;
  }

  /** Holds an answer back until another has gone out. */
  hold(release: () => void): void {
    this.#held.push(release);
  }

  drop(release: () => void): void {
    this.#held = this.#held.filter((each) => each !== release);
  }

  /** An answer has gone out: what was held back until then follows. */
  answered(id: RpcId): void {
    this.lastId = id;
    for (const release of this.#held.splice(0)) release();
  }
}
