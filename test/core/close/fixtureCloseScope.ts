import { expect } from 'vitest';
import type { Clock, Timer } from '../../../src/core/clock.js';
import { type Closeable, CloseScope } from '../../../src/core/close/CloseScope.js';
import { ClosedError, OptionError } from '../../../src/core/errors.js';
import { silentLogger } from '../../../src/core/logger.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

export type PartKind = 'clean' | 'fails' | 'throws' | 'hangs' | 'hangsThenFails' | 'closesUs';

/** What a callback does when it is called, whichever it is. */
export interface Act {
  readonly kind: 'nothing' | 'throw' | 'reject' | 'close' | 'badClose' | 'track' | 'user' | 'own' | 'timer';
  /** How long what it starts takes, or the grace it closes with. */
  readonly ms: number;
  readonly ends: 'resolves' | 'rejects' | 'never';
  readonly part: PartKind;
}

/** One piece of work, as the outside sees it. */
interface Work {
  readonly name: string;
  readonly beganMs: number;
  endedMs: number | undefined;
}

interface Call {
  readonly atMs: number;
  readonly graceMs: number;
}

/** A scope on a fake clock together with a record of all that was done to it and by it: the oracle reads that. */
export class CloseWorld {
  readonly clock = new FakeClock();
  readonly scope: CloseScope;
  readonly own: Work[] = [];
  readonly users: Work[] = [];
  readonly parts: Work[] = [];
  readonly counted: Work[] = [];
  readonly calls: Call[] = [];
  /** What the hooks and the parts failed with: the close must name each once. */
  readonly failures: Error[] = [];
  /** What failed when nobody waited for it any longer: it may be named, if the close still runs then. */
  readonly lateFailures: Error[] = [];
  /** What background work failed with: the logger must get each once. */
  readonly background: Error[] = [];
  readonly logged: unknown[] = [];
  readonly hooks: string[] = [];
  /** Timers that the scope has armed on its clock. */
  readonly armed = new Set<object>();
  promise: Promise<void> | undefined;
  settledMs: number | undefined;
  outcome: unknown;
  #names = 0;

  #refusedMs: number | undefined;

  constructor(hooks: { refuse: Act; drain: Act | undefined; deadline: Act; release: Act; releaseMs: number }) {
    const error = (fields: string | object): void => void this.logged.push((fields as { error: unknown }).error);
    const logger = { ...silentLogger, error };
    this.scope = new CloseScope('part', {
      clock: this.#watchedClock(),
      logger,
      onRefuse: () => {
        this.hooks.push('refuse');
        expect(() => this.scope.timer('late', 1, () => undefined)).toThrow(ClosedError);
        const refusing = this.act(hooks.refuse, this.failures) as undefined;
        // A hook's promise is work of the part's own until its reaction has run, also one that is settled already.
        if ((refusing as unknown) instanceof Promise) this.#refusedMs = this.clock.now();
        return refusing;
      },
      ...(hooks.drain === undefined ? {} : { onDrain: () => this.#drain(hooks.drain as Act) }),
      onDeadline: () => {
        this.hooks.push('deadline');
        expect(this.clock.now()).toBeGreaterThanOrEqual(this.deadlineMs);
        // What ended in this very turn may not have been seen to.
        const inFlight = ({ endedMs = Number.POSITIVE_INFINITY }) => endedMs >= this.clock.now();
        const seen = [...this.own, ...this.users, ...this.counted].some(inFlight);
        expect(seen || this.#refusedMs === this.clock.now()).toBe(true);
        for (const end of this.onDeadline) end();
        return this.act(hooks.deadline, this.failures) as undefined;
      },
      onRelease: async () => {
        this.hooks.push('release');
        const releasing = this.#begin(this.own, 'release');
        try {
          await this.act(hooks.release, this.failures);
          if (hooks.releaseMs > 0) await this.after(hooks.releaseMs);
        } finally {
          releasing.endedMs = this.clock.now();
        }
      },
    });
  }

  readonly onDeadline: (() => void)[] = [];

  /** The deadline as every call so far has left it. */
  get deadlineMs(): number {
    return Math.min(...this.calls.map(({ atMs, graceMs }) => atMs + graceMs));
  }

  get closing(): boolean {
    return this.calls.length > 0;
  }

  close(graceMs: number): void {
    this.calls.push({ atMs: this.clock.now(), graceMs });
    const promise = this.scope.close({ graceMs });
    if (this.promise !== undefined) {
      expect(promise).toBe(this.promise);
      return;
    }
    this.promise = promise;
    const settled = (outcome: unknown): void => {
      this.settledMs = this.clock.now();
      this.outcome = outcome;
    };
    promise.then(() => settled(undefined), settled);
  }

  after(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.setTimer(resolve, ms));
  }

  /** Own work: ends after `ms`, or, if it never ends by itself, `ms` after the deadline hook. In the release it must. */
  track(ms: number, ends: Act['ends'], then?: () => void): void {
    const work = this.#begin(this.own, 'own');
    const began =
      ends !== 'never' || this.hooks.includes('deadline') || this.hooks.includes('release')
        ? this.after(ms)
        : new Promise<void>((resolve) => this.onDeadline.push(resolve)).then(() => this.after(ms));
    const promise = began.then(() => {
      work.endedMs = this.clock.now();
      then?.();
      if (ends === 'rejects') throw new Error('own work failed');
    });
    promise.catch(() => undefined);
    expect(this.scope.track(promise)).toBe(promise);
  }

  user(ms: number, ends: Act['ends']): void {
    const work = this.#begin(this.users, 'user');
    const promise =
      ends === 'never'
        ? new Promise<void>(() => undefined)
        : this.after(ms).then(() => {
            work.endedMs = this.clock.now();
            if (ends === 'rejects') throw new Error('the user failed');
          });
    promise.catch(() => undefined);
    expect(this.scope.trackUser(work.name, promise)).toBe(promise);
  }

  own_(kind: PartKind, ms: number): Disposable {
    const work = this.#begin(this.parts, 'owned');
    return this.scope.own(work.name, this.#part(kind, ms, work));
  }

  timer(ms: number, act: Act): void {
    this.scope.timer('timer', ms, () => {
      expect(this.closing).toBe(false);
      return this.act(act, this.background) as undefined;
    });
  }

  every(ms: number, act: Act): Disposable {
    return this.scope.every('every', ms, () => {
      expect(this.closing).toBe(false);
      return this.act(act, this.background);
    });
  }

  /** Does `act`; what it fails with is added to `failures`. */
  act(act: Act, failures: Error[]): void | Promise<void> {
    const fail = (): Error => {
      const error = new Error(`failure ${this.#names++}`);
      failures.push(error);
      return error;
    };
    if (act.kind === 'throw') throw fail();
    if (act.kind === 'reject') return Promise.reject(fail());
    if (act.kind === 'close') this.close(act.ms);
    if (act.kind === 'badClose') {
      this.scope.close({ graceMs: -1 }).catch((error: unknown) => expect(error).toBeInstanceOf(OptionError));
    }
    if (act.kind === 'track') this.track(act.ms, act.ends);
    if (act.kind === 'user') this.user(act.ms + 1, act.ends);
    if (act.kind === 'own') this.own_(act.part, act.ms);
    if (act.kind === 'timer' && !this.closing) this.timer(act.ms, { ...act, kind: 'nothing' });
  }

  #begin(list: Work[], name: string): Work {
    const work: Work = { name: `${name} ${this.#names++}`, beganMs: this.clock.now(), endedMs: undefined };
    list.push(work);
    return work;
  }

  #drain(act: Act): Promise<void> {
    this.hooks.push('drain');
    if (act.kind !== 'reject') void this.act(act, this.failures);
    const work = this.#begin(this.counted, 'counted');
    if (act.ends === 'never') return new Promise(() => undefined);
    return this.after(act.ms).then(() => {
      work.endedMs = this.clock.now();
      if (act.ends === 'resolves') return;
      const error = new Error(`failure ${this.#names++}`);
      (this.hooks.includes('release') ? this.lateFailures : this.failures).push(error);
      throw error;
    });
  }

  /** A part as anyone may write it: the first call begins, later ones shorten, all get one promise. */
  #part(kind: PartKind, ms: number, work: Work): Closeable {
    let promise: Promise<void> | undefined;
    let end: () => void = () => undefined;
    let timer: Timer | undefined;
    const fail = (): never => {
      const error = new Error(`failure ${this.#names++}`);
      this.failures.push(error);
      throw error;
    };
    return {
      close: ({ graceMs = 5_000 } = {}) => {
        if (kind === 'throws' && promise === undefined) {
          work.endedMs = this.clock.now();
          promise = Promise.resolve();
          return fail();
        }
        if (kind === 'hangs' || kind === 'hangsThenFails') {
          timer?.cancel();
          timer = this.clock.setTimer(() => end(), graceMs);
        }
        promise ??= (
          kind.startsWith('hangs') ? new Promise<void>((resolve) => (end = () => resolve())) : this.after(ms)
        ).then(() => {
          work.endedMs = this.clock.now();
          if (kind === 'fails' || kind === 'hangsThenFails') fail();
        });
        if (kind === 'closesUs') this.close(ms);
        return promise;
      },
    };
  }

  /** Counts what the scope arms. Once closing, only the grace may: its timer is ref'd, since it is awaited. */
  #watchedClock(): Clock {
    const { clock, armed } = this;
    return {
      now: () => clock.now(),
      wallNow: () => clock.wallNow(),
      setTimer: (callback, delayMs, options) => {
        if (this.closing) expect(options).toEqual({ ref: true });
        const key = {};
        const timer = clock.setTimer(
          () => {
            armed.delete(key);
            callback();
          },
          delayMs,
          options,
        );
        armed.add(key);
        const cancel = (): void => {
          armed.delete(key);
          timer.cancel();
        };
        return { cancel, ref: () => timer.ref(), unref: () => timer.unref(), [Symbol.dispose]: cancel };
      },
    };
  }
}
