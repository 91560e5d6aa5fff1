import { Shares } from '../../concurrent/Shares.js';

/** Of what servers' questions may hold, one server's are so much at most. */
const OF_ONE = 3 / 4;

/**
 * Whose questions wait for clients, in bytes. What a server asks is its share, not its clients': it leaves room for others' questions.
 * Within it, clients that do not answer leave room to those of other owners.
 */
export class QuestionShares {
  readonly #servers: Shares;
  /** Of each server that waits for answers, whom it asks. */
  readonly #owners = new Map<string, Shares>();

  constructor(maxBytes: number) {
    this.#servers = new Shares(maxBytes);
  }

  /** Whether that server may ask so much more of that owner's clients; then it counts until it is given back. */
  take(server: string, owner: string, bytes: number): boolean {
    const owners = this.#owners.get(server) ?? new Shares(this.#servers.max * OF_ONE);
    if (!this.#servers.mayTake(server, bytes) || !owners.mayTake(owner, bytes)) return false;
    this.#servers.add(server, bytes);
    owners.add(owner, bytes);
    this.#owners.set(server, owners);
    return true;
  }

  giveBack(server: string, owner: string, bytes: number): void {
    const owners = this.#owners.get(server);
    this.#servers.add(server, -bytes);
    owners?.add(owner, -bytes);
    if (owners?.taken === 0) this.#owners.delete(server);
  }
}
