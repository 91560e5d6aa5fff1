import type { ConnectionPermit, Evictable } from '../../../concurrent/ConnectionLimit.js';
import type { AnswerMeter } from '../../../connection/AnswerMeter.js';
import type { Connection, DisconnectReason } from '../../../connection/Connection.js';
import type { InboundRouter } from '../../../connection/channel/InboundRouter.js';
import type { ServerInfo } from '../../../connection/protocol/messages.js';
import type { Clock } from '../../../core/clock.js';
import { within } from '../../../core/time/within.js';
import type { Caller } from '../../McpPool.js';

/** Whose a pooled connection is at the moment. */
export interface ConnectionHolder {
  readonly caller: Caller | undefined;
  /** What the last handshake told: by that it is known what the session was told since, such as a log level. */
  info: ServerInfo | undefined;
  /** Callers that wait for a slot. */
  readonly queued: number;
  /** Whether a connection of it may be ended now for another caller. */
  mayEvict(pooled: PooledConnection): boolean;
  /** A call or lease on it is over. */
  release(pooled: PooledConnection): void;
  /** Takes no new calls on it; it ends when its last one is back. */
  retire(pooled: PooledConnection, reason: string): void;
  /** It is dead. */
  disconnected(pooled: PooledConnection, reason: DisconnectReason): void;
}

/** How a connection that idles is known to live. */
export interface Pulse {
  /** What it is asked; undefined when it answers nothing of that kind. */
  method: string | undefined;
  /** Questions without an answer, in a row. */
  missed: number;
  /** `answers` when it was last looked at. */
  answers: number;
  /** Clock ms from which on it is asked; 0 before the first look. */
  dueMs: number;
}

/** So long an answer to a call that was given up may take, in ms. */
const LATE_MS = 1_000;

let connections = 0;

/** A connection with what belongs to it while it lives. The one place where its load, last use and leaving are kept. */
export class PooledConnection implements Evictable {
  /** Counts up over all pools of the process. */
  readonly id = ++connections;
  readonly connection: Connection;
  /** As the connector made it, in front of which the pool's `wrapConnection` may have put another. */
  readonly made: Connection;
  readonly router: InboundRouter;
  readonly permit: ConnectionPermit;
  readonly #answers: AnswerMeter;
  #traced: { readonly id: number; readonly pid: number | undefined; readonly info: ServerInfo } | undefined;
  /** Whose it is; undefined before it is up. */
  holder: ConnectionHolder | undefined;
  heldSinceMs: number;
  /** Calls and leases on it. */
  load = 0;
  lastUse = 0;
  /** Takes no new calls, and why. */
  leaving: string | undefined;
  /** `lastUse` as the sweep found it last, and the clock's ms of the sweep that found it changed. */
  #sweptUse = 0;
  #idleSinceMs: number;
  /** It ended by itself. */
  died = false;
  /** Its death has counted as a failure of the server. */
  deathCounted = false;
  /** What the ping monitor knows of it. */
  readonly pulse: Pulse = { method: 'ping', missed: 0, answers: 0, dueMs: 0 };

  constructor(
    connection: Connection,
    made: Connection,
    router: InboundRouter,
    permit: ConnectionPermit,
    answers: AnswerMeter,
    nowMs: number,
  ) {
    this.connection = connection;
    this.made = made;
    this.router = router;
    this.permit = permit;
    this.#answers = answers;
    this.heldSinceMs = nowMs;
    this.#idleSinceMs = nowMs;
    if ('wanted' in made) made.wanted = () => (this.holder?.queued ?? 0) > 0 || this.load > Math.max(1, made.inFlight);
  }

  /** As traces show it. */
  get traced(): { readonly id: number; readonly pid: number | undefined; readonly info: ServerInfo } {
    const { pid, info } = this.connection;
    this.#traced ??= { id: this.id, pid, info };
    return this.#traced;
  }

  /** Answers that came on it, those to pings too. */
  get answers(): number {
    return this.#answers.count;
  }

  /** It belongs to `holder` from here on, which is told of its end; now, if that has come. */
  attach(holder: ConnectionHolder): void {
    const first = this.holder === undefined;
    this.holder = holder;
    if (!first) return;
    this.connection.onClose((reason) => {
      this.died = !reason.expected;
      this.holder?.disconnected(this, reason);
    });
  }

  /** Whether it ended as a program does that has done its work: that it is early says nothing then. */
  isDone = ({ exitCode }: DisconnectReason): boolean => exitCode === 0 && this.answers > 0;

  /** How long it has been idle, to the sweep's grain, never too long; `kept`: though unused it counts as used. */
  idleMs(nowMs: number, kept: boolean): number {
    if (this.load > 0 || this.lastUse !== this.#sweptUse || kept) {
      this.#sweptUse = this.lastUse;
      this.#idleSinceMs = nowMs;
    }
    return nowMs - this.#idleSinceMs;
  }

  get group(): string {
    return this.permit.group;
  }

  get idle(): boolean {
    return this.load === 0 && this.holder?.mayEvict(this) === true;
  }

  /** Whether a call that was given up may still ask and tell on it. Then it is released again once that was answered, or retired. */
  isInDoubt(clock: Clock): boolean {
    const { inDoubt } = this.made;
    if (inDoubt === undefined || this.leaving !== undefined) return false;
    const late = (): void => this.retire('a call on it was given up, and is not answered');
    void within(inDoubt, { clock, timeoutMs: LATE_MS, ref: false })
      .catch(late)
      .then(() => this.holder?.release(this));
    return true;
  }

  retire(reason: string): void {
    this.holder?.retire(this, reason);
  }

  evict(): void {
    this.retire('another caller waits for a connection');
  }
}
