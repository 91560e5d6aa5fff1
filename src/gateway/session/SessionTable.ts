import type { Clock } from '../../core/clock.js';
import { ClosedError, QueueFullError } from '../../core/errors.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import { Session, type SessionClient, type SessionLimits } from './Session.js';

export interface SessionTableOptions extends SessionLimits {
  readonly maxSessions: number;
  readonly sessionIdleMs: number;
  /** One is over. */
  readonly onEnd?: (session: Session) => void;
}

/** An idle session makes room for a new one only after this long, so that a flood of new ones does not end live ones. */
const MIN_IDLE_TO_EVICT_MS = 60_000;

/** The sessions there are: bounded, and forgotten when unused. */
export class SessionTable {
  readonly #options: SessionTableOptions;
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();
  readonly #byKey = new Map<string, Session>();
  readonly #ending = new Set<Promise<void>>();
  #droppedByGone = 0;

  constructor(options: SessionTableOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Notifications that no client got to see. */
  get dropped(): number {
    return [...this.#sessions.values()].reduce((sum, each) => sum + each.dropped, this.#droppedByGone);
  }

  /** A new one. @throws QueueFullError when there are `maxSessions` and all are in use */
  open(endpoint: Endpoint, client: SessionClient): Session {
    if (this.#sessions.size >= this.#options.maxSessions) this.#makeRoom();
    const session = new Session(endpoint, client, this.#options, this.#clock.now());
    this.#sessions.set(session.id, session);
    this.#byKey.set(session.key, session);
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
    this.#droppedByGone += session.dropped;
    const ending = session.end(reason);
    this.#options.onEnd?.(session);
    this.#ending.add(ending);
    return ending.finally(() => this.#ending.delete(ending));
  }

  /** Ends those unused for `sessionIdleMs`. */
  expire(): void {
    const before = this.#clock.now() - this.#options.sessionIdleMs;
    for (const session of [...this.#sessions.values()]) {
      if (session.idle && session.usedMs <= before) void this.end(session);
    }
  }

  /** All of one endpoint. */
  of(endpoint: Endpoint): Session[] {
    return [...this.#sessions.values()].filter((session) => session.endpoint === endpoint);
  }

  [Symbol.iterator](): Iterator<Session> {
    return this.#sessions.values();
  }

  /** Ends all; resolves when every subscription was given back. */
  async close(): Promise<void> {
    for (const session of [...this.#sessions.values()]) void this.end(session, new ClosedError('Gateway'));
    await Promise.all(this.#ending);
  }

  #makeRoom(): void {
    let oldest: Session | undefined;
    for (const session of this.#sessions.values()) {
      if (session.idle && (oldest === undefined || session.usedMs < oldest.usedMs)) oldest = session;
    }
    const { maxSessions } = this.#options;
    if (oldest === undefined || this.#clock.now() - oldest.usedMs < MIN_IDLE_TO_EVICT_MS) {
      throw new QueueFullError('sessions', this.#sessions.size, maxSessions);
    }
    void this.end(oldest);
  }
}
