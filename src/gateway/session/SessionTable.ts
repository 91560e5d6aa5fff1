import { randomUUID } from 'node:crypto';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { ClosedError, QueueFullError } from '../../core/errors.js';
import { inSlices } from '../../core/time/inSlices.js';
import { within } from '../../core/time/within.js';
import { initialised } from '../endpoint/discovered.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import { capabilitiesOf, clientInfoOf, type Params, PROTOCOL_VERSIONS } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import type { SessionTickets, TicketContents } from '../tickets/SessionTickets.js';
import { OF_ADDRESS, originOf } from './origin.js';
import { Session, type SessionClient, type SessionIdentity, type SessionLimits } from './Session.js';
import type { ReasonOf } from './SessionCall.js';
import type { SubscriptionRoom } from './SessionSubscriptions.js';

export interface SessionTableOptions extends SessionLimits {
  readonly maxSessions: number;
  readonly maxSessionsPerAddress: number;
  readonly sessionIdleMs: number;
  /** Makes the ids of sessions, and opens them. */
  readonly tickets: SessionTickets;
  /** One is over. */
  readonly onEnd?: (session: Session) => void;
}

/** An idle session makes room for a new one only after this long, so that a flood of new ones does not end live ones. */
const MIN_IDLE_TO_EVICT_MS = 60_000;

/**
 * The sessions there are: bounded, and forgotten when unused. When all places are taken, addresses share them evenly: one
 * that has fewer than another takes the place of that one's longest unused session, so that no client locks others out.
 */
export class SessionTable {
  readonly #failing = new AbortController();
  readonly #options: SessionTableOptions;
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();
  readonly #byKey = new Map<string, Session>();
  readonly #byEndpoint = new Map<Endpoint, Set<Session>>();
  readonly #ending = new Set<Promise<void>>();
  /** Sessions by where their client connected from. */
  readonly #counts = new Map<string, number>();
  #droppedByGone = 0;

  constructor(options: SessionTableOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Where the URIs of all subscriptions are counted. */
  get subscriptionRoom(): SubscriptionRoom {
    return this.#options.subscriptionRoom;
  }

  /** Clients that listen. */
  get streams(): number {
    let streams = 0;
    for (const session of this.#sessions.values()) if (session.listening) streams++;
    return streams;
  }

  /** Notifications that no client got to see. */
  get dropped(): number {
    return [...this.#sessions.values()].reduce((sum, each) => sum + each.dropped, this.#droppedByGone);
  }

  /**
   * A new one.
   * @throws QueueFullError when there are `maxSessions` and none of them makes room, or `maxSessionsPerAddress` of its address
   */
  open(endpoint: Endpoint, client: SessionClient): Session {
    this.#admit(originOf(endpoint, client.address));
    const key = randomUUID();
    const id = this.#options.tickets.seal({ ...client, key }, endpoint.scope, endpoint.moves && client.stays !== true);
    return this.#enter({ id, key }, endpoint, client);
  }

  /**
   * Goes on with the session of that id, which another process opened or this one has forgotten; undefined when it cannot.
   * @throws QueueFullError like `open`
   */
  takeUp(id: string, endpoint: Endpoint, address: string | undefined): Session | undefined {
    const contents = this.#ticketOf(id, endpoint);
    if (contents === undefined) return undefined;
    this.#admit(originOf(endpoint, address));
    return this.#enter({ id, key: contents.key }, endpoint, { ...contents, address });
  }

  /** What a session that is not here is known by, if it can go on here. */
  keyOf(id: string, endpoint: Endpoint): string | undefined {
    return this.#ticketOf(id, endpoint)?.key;
  }

  /** Its client ended it at another replica. */
  endedElsewhere(key: string): void {
    this.#options.tickets.end(key);
    const session = this.#byKey.get(key);
    if (session !== undefined) void this.end(session);
  }

  /** Its client ended the session of that id: no request of it is answered any more. Gives its key; undefined for one that is not there. */
  async remove(id: string, endpoint: Endpoint): Promise<string | undefined> {
    const session = this.find(id, endpoint);
    const key = session?.key ?? this.#ticketOf(id, endpoint)?.key;
    if (key === undefined) return undefined;
    this.#options.tickets.end(key);
    if (session !== undefined) await this.end(session);
    return key;
  }

  #ticketOf(id: string, endpoint: Endpoint): TicketContents | undefined {
    return endpoint.moves ? this.#options.tickets.open(id, endpoint.scope) : undefined;
  }

  #admit(origin: string): void {
    const { maxSessions, maxSessionsPerAddress } = this.#options;
    const own = this.#counts.get(origin) ?? 0;
    if (own >= maxSessionsPerAddress) throw new QueueFullError(OF_ADDRESS, own, maxSessionsPerAddress);
    if (this.#sessions.size >= maxSessions) this.#makeRoom(own);
  }

  #enter(identity: SessionIdentity, endpoint: Endpoint, client: SessionClient): Session {
    const session = new Session(identity, endpoint, client, this.#options, this.#clock);
    this.#counts.set(session.origin, (this.#counts.get(session.origin) ?? 0) + 1);
    this.#sessions.set(session.id, session);
    this.#byKey.set(session.key, session);
    const alike = this.#byEndpoint.get(endpoint) ?? new Set();
    this.#byEndpoint.set(endpoint, alike.add(session));
    return session;
  }

  /** The session of that id on that endpoint, its idle time started anew. */
  find(id: string, endpoint: Endpoint): Session | undefined {
    const session = this.#sessions.get(id);
    if (session === undefined || session.endpoint !== endpoint) return undefined;
    session.usedMs = this.#clock.now();
    return session;
  }

  /** The session whose connections are known by `key`. */
  byKey(key: string): Session | undefined {
    return this.#byKey.get(key);
  }

  end(session: Session, reason?: unknown): Promise<void> {
    if (!this.#sessions.delete(session.id)) return Promise.resolve();
    this.#byKey.delete(session.key);
    const alike = this.#byEndpoint.get(session.endpoint);
    alike?.delete(session);
    if (alike?.size === 0) this.#byEndpoint.delete(session.endpoint);
    const left = (this.#counts.get(session.origin) ?? 1) - 1;
    if (left > 0) this.#counts.set(session.origin, left);
    else this.#counts.delete(session.origin);
    this.#droppedByGone += session.dropped;
    const ending = session.end(reason);
    this.#options.onEnd?.(session);
    this.#ending.add(ending);
    return ending.finally(() => this.#ending.delete(ending));
  }

  /**
   * Opens one by a client's `initialize`, which passes the gateway's middleware: resolves to what answers it, as JSON in parts, unless what is in
   * flight is failed before. `opened` has the session as soon as there is one, which its owner ends where this fails.
   * @throws QueueFullError like `open`, Refusal when middleware answers by itself
   */
  async initialize(
    endpoint: Endpoint,
    params: Params | undefined,
    client: Pick<SessionClient, 'address' | 'stays'>,
    opened: { session: Session | undefined },
    signal: AbortSignal,
  ): Promise<readonly Buffer[]> {
    const open = async (own: Params | undefined): Promise<readonly Buffer[]> => {
      for (const each of [signal, this.#failing.signal]) each.throwIfAborted();
      const before = opened.session;
      opened.session = undefined;
      // Middleware tries again.
      if (before !== undefined) await this.end(before);
      const session = this.open(endpoint, { ...client, ...saidBy(own) });
      opened.session = session;
      const info = await endpoint.info(session, AbortSignal.any([signal, session.signal]));
      return initialised(session.protocolVersion, info);
    };
    const opening = endpoint.opening(params, { address: client.address, signal }, open);
    const result = await within(opening, { clock: this.#clock, signal: this.#failing.signal });
    if (opened.session === undefined) throw new Refusal(RPC_CODES.internalError, 'middleware opened no session');
    return result;
  }

  /** Fails what is in flight, what opens a session included. */
  failInFlight(reasonOf: ReasonOf): void {
    this.#failing.abort(reasonOf());
    void this.#inTurns((session) => session.failInFlight(reasonOf));
  }

  /** Ends those unused for `sessionIdleMs`. */
  expire(): Promise<void> {
    const before = this.#clock.now() - this.#options.sessionIdleMs;
    return this.#inTurns((session) => {
      if ((session.idle || session.unattended) && session.usedMs <= before) void this.end(session);
    });
  }

  /** Ends the streams of all. */
  endStreams(): Promise<void> {
    return this.#inTurns((session) => session.endStream());
  }

  /** For each that there is, in turns of the event loop: at once where they are few. */
  #inTurns(step: (session: Session) => void): Promise<void> {
    const all = this.#sessions.values();
    return inSlices(() => {
      const { value: session } = all.next();
      if (session !== undefined) step(session);
      return session === undefined;
    }, 4);
  }

  /** Of the sessions that `may` names, ends the one whose client left longest ago without saying so; false when there is none. */
  endAbandoned(may: (session: Session) => boolean): boolean {
    const chosen = this.#longestUnused((session) => session.abandoned && may(session));
    if (chosen === undefined) return false;
    void this.end(chosen);
    return true;
  }

  /** All of one endpoint. */
  of(endpoint: Endpoint): Session[] {
    return [...(this.#byEndpoint.get(endpoint) ?? [])];
  }

  [Symbol.iterator](): Iterator<Session> {
    return this.#sessions.values();
  }

  /** Ends all; resolves when every subscription was given back, or after `waitMs`: a server may never say so. */
  async close(waitMs: number): Promise<void> {
    await this.#inTurns((session) => void this.end(session, new ClosedError('Gateway')));
    const ended = Promise.all(this.#ending);
    await within(ended, { clock: this.#clock, timeoutMs: waitMs }).catch(() => undefined);
  }

  /** For a client whose address has `own` sessions. */
  #makeRoom(own: number): void {
    const unused = this.#longestUnused((session) => session.idle);
    if (unused !== undefined && this.#clock.now() - unused.usedMs >= MIN_IDLE_TO_EVICT_MS) return void this.end(unused);
    let most = 0;
    for (const count of this.#counts.values()) most = Math.max(most, count);
    // Its place is worth taking only when the newcomer's address then has no more than the other is left with.
    const rich = (session: Session): boolean => this.#counts.get(session.origin) === most && most > own + 1;
    const chosen =
      this.#longestUnused((session) => rich(session) && session.idle) ??
      this.#longestUnused((session) => rich(session) && session.quiet);
    if (chosen !== undefined) return void this.end(chosen);
    // It has as many as any address may have now: that is no matter of others.
    if (own > 0 && own + 1 >= most) throw new QueueFullError(OF_ADDRESS, own, own);
    throw new QueueFullError('sessions', this.#sessions.size, this.#options.maxSessions);
  }

  #longestUnused(may: (session: Session) => boolean): Session | undefined {
    let oldest: Session | undefined;
    for (const session of this.#sessions.values()) {
      if ((oldest === undefined || session.usedMs < oldest.usedMs) && may(session)) oldest = session;
    }
    return oldest;
  }
}

/** What a client says of itself in `initialize`, with the version that is agreed on. */
function saidBy(params: Params | undefined): Omit<SessionClient, 'address' | 'stays'> {
  const asked = params?.['protocolVersion'];
  return {
    protocolVersion: PROTOCOL_VERSIONS.find((each) => each === asked) ?? (PROTOCOL_VERSIONS[0] as string),
    capabilities: capabilitiesOf(params),
    clientInfo: clientInfoOf(params?.['clientInfo']),
  };
}
