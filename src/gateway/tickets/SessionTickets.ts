import { randomBytes } from 'node:crypto';
import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/client';
import type { Clock } from '../../core/clock.js';
import { askable, PROTOCOL_VERSIONS } from '../rpc/envelope.js';
import { EndedTickets } from './EndedTickets.js';
import { TicketSeal } from './TicketSeal.js';

export interface SessionTicketsOptions {
  /** Of all replicas: the first seals, all open. Undefined: one of this process, whose sessions no other takes up. */
  readonly sessionKeys: readonly (string | Uint8Array)[] | undefined;
  /** A ticket is taken up for so long, in ms. */
  readonly sessionLifeMs: number;
  readonly clock: Clock;
}

/** What a ticket says of its session. */
export interface TicketContents {
  /** What the session is known by to servers and stores. */
  readonly key: string;
  readonly protocolVersion: string;
  /** Those that a shared server may ask for. */
  readonly capabilities?: ClientCapabilities | undefined;
  readonly clientInfo?: Implementation | undefined;
}

/** Characters of a ticket: a header of that length passes every proxy. */
const MAX_TICKET_CHARS = 2_048;
/** Of the JSON in it, so that the sealed text stays below. */
const MAX_CONTENTS_BYTES = 1_400;
/** Stands in the contents of a session that no other process can take up. */
const STAYS = 0;

/**
 * The ids of sessions. Each is a sealed ticket that says all there is to know of its session, so that any process with the key
 * goes on with it. It opens only for the principal and the endpoint that it was made for, until its time is over or its session
 * was ended here. Without keys, and for a session that says too much to be carried, it is a random id that opens nowhere.
 */
export class SessionTickets {
  readonly #seal: TicketSeal;
  readonly #shared: boolean;
  readonly #lifeMs: number;
  readonly #clock: Clock;
  readonly #ended: EndedTickets;

  /** @throws OptionError */
  constructor({ sessionKeys, sessionLifeMs, clock }: SessionTicketsOptions) {
    this.#seal = new TicketSeal(sessionKeys ?? [randomBytes(32)]);
    this.#shared = sessionKeys !== undefined;
    this.#lifeMs = sessionLifeMs;
    this.#clock = clock;
    this.#ended = new EndedTickets(clock);
  }

  /** Whether sessions can be taken up at all. */
  get shared(): boolean {
    return this.#shared;
  }

  /** The ticket of a new session. `moves`: nothing of it lives in a process. */
  seal(contents: TicketContents, scope: string, moves: boolean): string {
    const { key, protocolVersion, capabilities, clientInfo } = contents;
    const { name, version } = clientInfo ?? {};
    const expiresSec = Math.ceil((this.#clock.wallNow() + this.#lifeMs) / 1_000);
    const all = JSON.stringify([key, expiresSec, protocolVersion, askable(capabilities) ?? 0, name, version]);
    const fits = moves && this.#shared && Buffer.byteLength(all) <= MAX_CONTENTS_BYTES;
    return this.#seal.seal(fits ? all : JSON.stringify([key, STAYS]), scope);
  }

  /** What a ticket says; undefined for one that is forged, of another scope, too old, ended here, or made to stay. */
  open(ticket: string, scope: string): TicketContents | undefined {
    if (!this.#shared || ticket.length > MAX_TICKET_CHARS) return undefined;
    const text = this.#seal.open(ticket, scope);
    if (text === undefined) return undefined;
    // It was written by a holder of the key.
    const [key, expiresSec, protocolVersion, capabilities, name, version] = JSON.parse(text) as readonly [
      string,
      number,
      string,
      ClientCapabilities | 0,
      string | null,
      string | null,
    ];
    const lives = expiresSec * 1_000 > this.#clock.wallNow() && !this.#ended.has(key);
    if (!lives || !PROTOCOL_VERSIONS.includes(protocolVersion)) return undefined;
    return {
      key,
      protocolVersion,
      ...(capabilities !== 0 && { capabilities }),
      ...(name !== null && version !== null && { clientInfo: { name, version } }),
    };
  }

  /** The session of that key was ended by its client: its ticket opens no more. */
  end(key: string): void {
    if (this.#shared) this.#ended.add(key, this.#lifeMs);
  }
}
