import { Shares } from '../../../concurrent/Shares.js';

/** What the bytes of answers on their way count to. */
export interface Incoming {
  /** Counts so many more, or fewer, of what comes for that caller; undefined: for no one in particular. An error when there is no room for more. */
  change(by: number, caller?: string): NoRoomError | undefined;
}

/** There is no room for more of an answer: no fault of its server, nor of its connection. */
export class NoRoomError extends Error {}

/**
 * Bytes of answers on their way, over all connections of a pool: bodies and events that are not complete. None of its servers takes all of
 * it, and no caller all of what its server may have (`Shares`).
 */
export class IncomingBytes implements Incoming {
  readonly #servers: Shares;
  /** Of each server that has any, by whose they are. */
  readonly #callers = new Map<string, Shares>();

  constructor(maxBytes: number) {
    this.#servers = new Shares(maxBytes);
  }

  get bytes(): number {
    return this.#servers.taken;
  }

  /** What counts to the share of that server. */
  of(server: string): Incoming {
    return { change: (by, caller) => this.#change(by, server, caller) };
  }

  /** As `of`, of no server in particular: all that is free is for it. */
  change(by: number): NoRoomError | undefined {
    const all = this.#servers;
    const fits = by <= 0 || all.mayTake('', by, 0, true);
    all.add('', by);
    return fits ? undefined : this.#noRoom();
  }

  #change(by: number, server: string, caller: string | undefined): NoRoomError | undefined {
    const all = this.#servers;
    const own = this.#callers.get(server) ?? new Shares(0);
    const room = own.taken + all.room(server);
    const fits = by <= 0 || (all.mayTake(server, by) && own.mayTake(caller ?? '', by, room, caller === undefined));
    all.add(server, by);
    own.add(caller ?? '', by);
    if (own.taken > 0) this.#callers.set(server, own);
    else this.#callers.delete(server);
    return fits ? undefined : this.#noRoom(all.of(server));
  }

  #noRoom(ofServer?: number): NoRoomError {
    const { taken, max } = this.#servers;
    const own = ofServer === undefined ? '' : `, ${ofServer} of them of this server`;
    return new NoRoomError(`answers on their way hold ${taken} bytes${own}, ${max} are allowed (maxIncomingBytes)`);
  }
}
