import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import type { Clock, Timer } from '../../../core/clock.js';
import { messageOf } from '../../../core/errors.js';
import { limitedLogger } from '../../../core/limitedLogger.js';
import type { Logger } from '../../../core/logger.js';
import { backoffMs } from '../../../core/time/backoff.js';
import { sleep } from '../../../core/time/sleep.js';
import { inTurnOrNow, spendCaller } from '../../../core/time/turns.js';
import { Turns } from '../../../core/wait/Turns.js';
import { Refusal } from '../../rpc/failure.js';
import type { Session } from '../../session/Session.js';
import { isFinal } from '../../session/SessionSubscriptions.js';
import { requestOf } from '../messages.js';

/** So many requests are under way at once: what clients call goes between them. Beyond, origins take turns. */
const MAX_AT_ONCE = 32;
/** One counts for so long at most, in ms: what a server does not answer holds up the sessions of others no longer. */
const HOLD_MS = 5_000;
/** So many of one session are under way, however long they take. */
const MAX_OF_SESSION = 8;
/** How long a session waits once one has failed, as the next may meet the same: a server that is away, or a bound. */
const AGAIN = Object.freeze({ initialMs: 1_000, maxMs: 30_000, jitterRatio: 0.25 });

/** What one session still has to have set up, by the names of its notes. */
interface Pending {
  readonly waiting: Map<string, string>;
  /** Under way, by what is wanted now; undefined: not any more. */
  readonly asking: Map<string, string | undefined>;
  /** Failed: they are asked for again after a pause, behind the others. */
  readonly failed: Map<string, string>;
  /** Pauses since one was set up. */
  pauses: number;
  pausing: boolean;
  /** Whether it has its place among those that take turns. */
  queued: boolean;
}

export interface SessionSetUpsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Has sessions set up as their clients did at other replicas: thousands of them, with a hundred subscriptions each, may come at one instant.
 * A few requests are under way at a time. One that fails is made again after growing pauses, for as long as the session lives and wants it. Where only a change to
 * the config would help, or the server refuses, the client is told that what it follows has changed: it looks at that again, and learns why.
 */
export class SessionSetUps {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #pending = new WeakMap<Session, Pending>();
  readonly #turns = new Turns<string, Session>();
  #held = 0;

  constructor({ clock, logger }: SessionSetUpsOptions) {
    this.#clock = clock;
    this.#logger = limitedLogger(logger, () => clock.now());
  }

  /** What a note says is to hold for the session; undefined: no longer. */
  set(session: Session, name: string, text: string | undefined): void {
    const pending = this.#pending.get(session) ?? newPending();
    this.#pending.set(session, pending);
    if (text === undefined) {
      this.said(session, name, text);
      // It may be open by the client's own request.
      this.#request(session, name, text).catch((error: unknown) => this.#logger.debug({ error }, NOT_UNDONE));
    } else if (pending.asking.has(name)) pending.asking.set(name, text);
    else {
      pending.waiting.set(name, text);
      this.#enqueue(session, pending);
    }
  }

  /** The client itself has that set here now: nothing older is to be set up. False when nothing was. */
  said(session: Session, name: string, text: string | undefined): boolean {
    const pending = this.#pending.get(session);
    if (pending === undefined) return false;
    const { waiting, asking, failed } = pending;
    const isAsked = asking.get(name) !== undefined;
    if (isAsked) asking.set(name, text);
    return [waiting.delete(name), failed.delete(name), isAsked].includes(true);
  }

  #enqueue(session: Session, pending: Pending): void {
    const { waiting, asking, failed, pausing, queued } = pending;
    if (session.signal.aborted || queued || pausing) return;
    if (failed.size > 0) void this.#pause(session, pending);
    else if (waiting.size > 0 && asking.size < MAX_OF_SESSION) {
      pending.queued = true;
      this.#turns.add(session.origin, session);
      this.#next();
    }
  }

  #next(): void {
    while (this.#held < MAX_AT_ONCE) {
      const session = this.#turns.take();
      const pending = session && this.#pending.get(session);
      if (session === undefined || pending === undefined) return;
      pending.queued = false;
      const [first] = pending.waiting;
      // It was dropped, or its session ended, before its turn came.
      if (first === undefined || session.signal.aborted) continue;
      pending.waiting.delete(first[0]);
      void this.#setUp(session, pending, ...first);
      this.#enqueue(session, pending);
    }
  }

  /** Never rejects. */
  async #setUp(session: Session, pending: Pending, name: string, text: string): Promise<void> {
    const { asking, failed, waiting } = pending;
    asking.set(name, text);
    const release = this.#hold();
    try {
      await this.#request(session, name, text);
      pending.pauses = 0;
      const wanted = asking.get(name);
      if (wanted === undefined) await this.#request(session, name, wanted);
      else if (wanted !== text) waiting.set(name, wanted);
    } catch (error) {
      const wanted = session.signal.aborted ? undefined : asking.get(name);
      if (wanted === undefined || this.#isOver(session, name, error)) {
        this.#logger.debug({ error: messageOf(error) }, 'a session is not set up as elsewhere');
      } else {
        failed.set(name, wanted);
        this.#warn(pending, error);
      }
    } finally {
      asking.delete(name);
      release();
      this.#enqueue(session, pending);
    }
  }

  async #request(session: Session, name: string, text: string | undefined): Promise<void> {
    const [method, params] = requestOf(name, text) ?? [];
    if (method !== undefined) await session.endpoint.request(session, method, params, { signal: session.signal });
  }

  /** Whether it is not asked for again. A client that waits for news has heard so then: one that does not listen yet is told later. */
  #isOver(session: Session, name: string, error: unknown): boolean {
    if (!isRefused(error)) return false;
    const [method, params] = requestOf(name, '1') ?? [];
    if (method !== 'resources/subscribe') return true;
    if (!session.listening) return false;
    session.notify('notifications/resources/updated', params);
    return true;
  }

  /** Once for each time that it begins to fail. */
  #warn({ pauses, failed }: Pending, error: unknown): void {
    const level = pauses === 0 && failed.size === 1 ? 'warn' : 'debug';
    this.#logger[level]({ error: messageOf(error) }, 'a session could not be set up as elsewhere yet');
  }

  /** Never rejects. */
  async #pause(session: Session, pending: Pending): Promise<void> {
    pending.pausing = true;
    const { signal } = session;
    await sleep(this.#clock, backoffMs(++pending.pauses, AGAIN), { signal, ref: false }).catch(() => undefined);
    pending.pausing = false;
    const { failed, waiting } = pending;
    for (const [name, text] of failed) waiting.set(name, text);
    failed.clear();
    this.#enqueue(session, pending);
  }

  /** Takes a place, until it is released or was held for long. */
  #hold(): () => void {
    this.#held++;
    let timer: Timer | undefined;
    const release = (): void => {
      if (timer === undefined) return;
      timer.cancel();
      timer = undefined;
      this.#held--;
      // Of requests that wait for nothing, a thousand are not all made in one turn.
      void Promise.resolve(inTurnOrNow(spendCaller)).then(() => this.#next());
    };
    timer = this.#clock.setTimer(release, HOLD_MS);
    return release;
  }
}

const NOT_UNDONE = 'what a session gave back elsewhere was not there';

const newPending = (): Pending => ({
  waiting: new Map(),
  asking: new Map(),
  failed: new Map(),
  pauses: 0,
  pausing: false,
  queued: false,
});

/** Whether it would be refused again. A resource may not be found since its server is away. */
const isRefused = (error: unknown): boolean =>
  error instanceof Refusal ? error.failure.code !== RPC_CODES.resourceNotFound : isFinal(error);
