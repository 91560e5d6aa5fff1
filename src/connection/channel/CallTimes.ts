import type { Clock } from '../../core/clock.js';
import { AcquireTimeoutError, confirmAlive, RequestTimeoutError, sessionAwaited } from '../../core/errors.js';
import { TimeoutWheel } from '../../core/time/TimeoutWheel.js';
import type { Call } from './Call.js';

export interface CallTimesOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly acquireTimeoutMs: number;
  readonly maxTotalTimeoutMs: number;
}

/** After the event loop stood still, what came meanwhile is read before a call's time is over: no more than so much later. */
const MAX_GRACE_MS = 1_000;
/** And one whose answer is arriving goes on while more of it comes in so many ms, no longer than that. */
const ARRIVING_MS = 100;
/** How long a call waits for its answer once another message seems to have been that: it may be of another server's call, or of the one before. */
const DOUBT_MS = 5_000;

/** How long the calls of one channel may take: waiting for the transport, and from their send. One wheel for all. */
export class CallTimes {
  readonly #options: CallTimesOptions;
  readonly #wheel: TimeoutWheel;

  constructor(options: CallTimesOptions) {
    this.#options = options;
    this.#wheel = new TimeoutWheel(options.clock, { maxGraceMs: MAX_GRACE_MS });
  }

  /** Waiting for the transport from now on; one that was sent already, and refused unread, within the time that it has from then. */
  waiting(call: Call, awaitsSession = false): void {
    call.awaitsSession = awaitsSession;
    const nowMs = this.#options.clock.now();
    call.doubt = undefined;
    this.#wheel.add(call, Math.min(this.#acquireMs(call), this.#leftMs(call, nowMs)), nowMs);
  }

  /** On its way from now on. Its time begins with the first send: one that was refused unread, and goes out again, has what is left. */
  sent(call: Call, nowMs: number): void {
    call.sentMs = nowMs;
    if (call.firstMs === undefined) {
      call.firstMs = nowMs;
      this.anew(call, nowMs);
    } else this.#arm(call, nowMs);
  }

  /** Its server is at work on it, as `believed`: its time begins anew. */
  anew(call: Call, nowMs: number): void {
    call.doubt = undefined;
    call.dueMs = this.#standingMs(call, nowMs) + this.#timeoutMs(call);
    this.#arm(call, nowMs);
  }

  /**
   * The server waits for an answer, which one of these calls is about: until the function returned is called, their time stands
   * still, if they ask for that.
   */
  asked(calls: readonly Call[]): () => void {
    const paused = calls.filter(({ phase, options }) => phase === 'sent' && options.pauseWhileAsked === true);
    for (const call of paused) this.#pause(call);
    // A call may be over long before: what waits does not keep it.
    const waiting = paused.map((call) => new WeakRef(call));
    return () => {
      for (const each of waiting.splice(0)) {
        const call = each.deref();
        if (call !== undefined) this.#resume(call);
      }
    };
  }

  /** The call's time stands still until the function returned is called. */
  still(call: Call): () => void {
    this.#pause(call);
    return () => this.#resume(call);
  }

  /** Another message seems to have been its answer: it fails with `error` unless the answer itself comes right after. */
  doubted(call: Call, error: Error): void {
    if (call.doubt !== undefined) return;
    const nowMs = this.#options.clock.now();
    call.doubt = { error, untilMs: this.#standingMs(call, nowMs) + DOUBT_MS };
    this.#arm(call, nowMs);
  }

  /** Its server is at work on it: nothing before was its answer. */
  believed(call: Call): void {
    if (call.doubt === undefined) return;
    call.doubt = undefined;
    this.#arm(call, this.#options.clock.now());
  }

  settled(call: Call): void {
    this.#wheel.remove(call);
  }

  /**
   * The time of a call is over. True when `arrived` bytes of its answer, more than at the last look, have come: it is looked at again. Timers fire
   * before what came is read, and of an answer larger than its pipe the rest comes only after that.
   */
  goesOn(call: Call, arrived: number): boolean {
    const nowMs = this.#options.clock.now();
    if (call.phase !== 'sent' || arrived <= call.arrived) return false;
    if (call.arrived === 0) call.endsMs = nowMs + MAX_GRACE_MS;
    call.arrived = arrived;
    if (nowMs >= call.endsMs) return false;
    this.#wheel.add(call, ARRIVING_MS, nowMs);
    return true;
  }

  /** What a call gets whose time is over. `calls`: how many the transport has, in all. */
  error(call: Call, calls: number): Error {
    const { server } = this.#options;
    if (call.phase !== 'queued') return this.#unanswered(call);
    const counts = { live: 1, creating: 0, dying: 0, slots: calls, inUse: calls, waiting: 0 };
    const acquireMs = this.#acquireMs(call);
    const limitMs =
      call.firstMs === undefined ? acquireMs : Math.min(acquireMs, this.#timeoutMs(call), this.#totalMs(call));
    const error = new AcquireTimeoutError(`server ${server}: ${whyNotSent(call)}`, limitMs, counts);
    if (call.awaitsSession && limitMs === acquireMs) sessionAwaited.add(error);
    return error;
  }

  close(): void {
    this.#wheel.close();
  }

  /** What the caller gave for everything goes on. */
  #pause(call: Call): void {
    if (call.asked++ > 0) return;
    call.askedMs = this.#options.clock.now();
    const { untilMs } = call.options;
    if (untilMs === undefined) this.#wheel.remove(call);
    else this.#wheel.add(call, leftOf(untilMs, call.askedMs), call.askedMs);
  }

  #resume(call: Call): void {
    if (--call.asked > 0 || call.phase === 'settled') return;
    const nowMs = this.#options.clock.now();
    const heldMs = nowMs - call.askedMs;
    call.heldMs += heldMs;
    call.dueMs += heldMs;
    if (call.doubt !== undefined) call.doubt.untilMs += heldMs;
    if (call.phase === 'sent') this.#arm(call, nowMs);
  }

  /** Where its time stands: `#resume` adds what it stands still for. */
  #standingMs(call: Call, nowMs: number): number {
    return call.asked > 0 ? call.askedMs : nowMs;
  }

  #arm(call: Call, nowMs: number): void {
    if (call.asked === 0) this.#wheel.add(call, this.#leftMs(call, nowMs), nowMs);
  }

  /** Until the first of its bounds. */
  #leftMs(call: Call, nowMs: number): number {
    const { dueMs, firstMs = Number.POSITIVE_INFINITY, heldMs, doubt, options } = call;
    const untilMs = Math.min(dueMs, firstMs + heldMs + this.#totalMs(call), doubt?.untilMs ?? dueMs);
    return Math.min(leftOf(untilMs, nowMs), leftOf(options.untilMs, nowMs));
  }

  #unanswered(call: Call): Error {
    const { doubt } = call;
    if (doubt !== undefined && this.#options.clock.now() >= doubt.untilMs) return doubt.error;
    const but = doubt === undefined ? call.carrier?.taken : `; before: ${doubt.error.message}`;
    const error = new RequestTimeoutError(this.#options.server, call.method, this.#limitMs(call), but);
    // Its server said something, and is well.
    if (doubt !== undefined) confirmAlive(error);
    return error;
  }

  #acquireMs(call: Call): number {
    const { acquireTimeoutMs = this.#options.acquireTimeoutMs, sessionWaitMs = acquireTimeoutMs } = call.options;
    return call.awaitsSession ? Math.min(acquireTimeoutMs, sessionWaitMs) : acquireTimeoutMs;
  }

  #timeoutMs(call: Call): number {
    return call.options.timeoutMs ?? this.#options.timeoutMs;
  }

  #totalMs(call: Call): number {
    return call.options.maxTotalTimeoutMs ?? this.#options.maxTotalTimeoutMs;
  }

  /** Which of its limits a sent call has just reached. */
  #limitMs(call: Call): number {
    const nowMs = this.#options.clock.now();
    const { firstMs = nowMs } = call;
    const tookMs = Math.round(nowMs - firstMs - call.heldMs);
    if (tookMs >= this.#totalMs(call)) return this.#totalMs(call);
    // The time for everything, as much as was left at the send: a turn that was held up makes it end later, not longer.
    const { untilMs = Number.POSITIVE_INFINITY } = call.options;
    return Math.min(this.#timeoutMs(call), tookMs, Math.max(0, Math.round(untilMs - firstMs)));
  }
}

function whyNotSent({ firstMs, awaitsSession, carrier }: Call): string {
  if (firstMs !== undefined) return 'a call that it refused unread could not be sent again';
  if (awaitsSession) return 'its session is being replaced';
  return carrier === undefined ? 'its input is blocked' : 'its connections';
}

function leftOf(untilMs: number | undefined, nowMs: number): number {
  return untilMs === undefined ? Number.POSITIVE_INFINITY : Math.max(0, untilMs - nowMs);
}
