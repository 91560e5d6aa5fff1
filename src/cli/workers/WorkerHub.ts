import type { Worker } from 'node:cluster';
import { SharedTable } from '../../concurrent/SharedTable.js';
import type { Clock } from '../../core/clock.js';
import { hasRoom, MAX_SENDING_BYTES, sendingBytes } from '../../gateway/replicas/sendingRoom.js';
import type { FromWorker, ToWorker } from './messages.js';

/** Sessions of which little is noted, as that one has ended. Beyond it the owner that has most of them loses those that were noted longest ago. */
const MAX_SESSIONS = 100_000;
/** So many characters are little: sessions with more drive out none of those. */
const LITTLE = 64;

/** Characters of all notes of sessions that have more; beyond it the owner that has most loses sessions in the same way. */
const MAX_CHARS = 32 * 1_024 * 1_024;
/** What each of those counts beside its notes. */
const SESSION_CHARS = 256;

/** Of all that waits for a worker, with what may not be lost: one that is so far behind does not read. */
const MAX_HELD_BYTES = 2 * MAX_SENDING_BYTES;

interface Noted {
  readonly notes: Map<string, string>;
  chars: number;
  untilMs: number;
}

/** What the workers of one machine tell each other and remember together, in the primary process. */
export class WorkerHub {
  readonly #clock: Clock;
  /** Each worker, and what its gateway is known by. */
  readonly #workers = new Map<Worker, string>();
  /** Sessions with little, and those with more. */
  readonly #little = new SharedTable<string, Noted, string>({ maxWeight: MAX_SESSIONS });
  readonly #more = new SharedTable<string, Noted, string>({ maxWeight: MAX_CHARS });
  /** Bytes of what is on its way to each. */
  readonly #waiting = new WeakMap<Worker, number>();
  readonly #onStuck: (worker: Worker) => void;

  /** `onStuck`: a worker reads nothing, and more waits for it than may be held. It is told nothing any more. */
  constructor(clock: Clock, onStuck: (worker: Worker) => void) {
    this.#clock = clock;
    this.#onStuck = onStuck;
  }

  gone(worker: Worker): void {
    this.#workers.delete(worker);
  }

  heard(worker: Worker, message: FromWorker): void {
    switch (message.type) {
      case 'hello':
        this.#workers.set(worker, message.id);
        return;
      case 'publish':
        for (const [other, id] of this.#workers)
          if (other !== worker && (message.to ?? id) === id) this.#pass(other, message);
        return;
      case 'note':
        this.#note(message);
        return;
      case 'ask':
        tell(worker, { type: 'answer', id: message.id, value: this.#answer(message.what, message.key) });
    }
  }

  /** One that does not read gets no more than it has room for. */
  #pass(worker: Worker, { text, mayBeLost }: Extract<FromWorker, { type: 'publish' }>): void {
    const bytes = sendingBytes(text);
    const waiting = this.#waiting.get(worker) ?? 0;
    if (!hasRoom(bytes, waiting, mayBeLost)) return;
    if (waiting + bytes > MAX_HELD_BYTES) {
      this.gone(worker);
      this.#onStuck(worker);
      return;
    }
    this.#waiting.set(worker, waiting + bytes);
    tell(worker, { type: 'told', text }, () => this.#waiting.set(worker, (this.#waiting.get(worker) ?? 0) - bytes));
  }

  #answer(what: 'notes' | 'alive', key: string): unknown {
    if (what === 'alive') return [...this.#workers.values()].includes(key);
    const noted = this.#noted(key);
    return noted === undefined || noted.untilMs < this.#clock.now() ? {} : Object.fromEntries(noted.notes);
  }

  #note({ session, owner, name, text, lifeMs }: Extract<FromWorker, { type: 'note' }>): void {
    const nowMs = this.#clock.now();
    for (const sessions of [this.#little, this.#more]) forgetOver(sessions, nowMs);
    const noted = this.#noted(session) ?? { notes: new Map<string, string>(), chars: 0, untilMs: 0 };
    // Not all of them are counted anew: a client may have many, and set one again and again.
    noted.chars -= charsIn(noted, name);
    if (text === undefined) noted.notes.delete(name);
    else noted.notes.set(name, text);
    noted.chars += charsIn(noted, name);
    noted.untilMs = nowMs + lifeMs;
    for (const sessions of [this.#little, this.#more]) sessions.delete(session);
    if (noted.chars > LITTLE) this.#more.set(session, noted, owner, SESSION_CHARS + noted.chars);
    else this.#little.set(session, noted, owner, 1);
  }

  #noted(session: string): Noted | undefined {
    return this.#little.get(session) ?? this.#more.get(session);
  }
}

function forgetOver(sessions: SharedTable<string, Noted, string>, nowMs: number): void {
  // The one that was noted longest ago stands first.
  for (const [session, { untilMs }] of sessions) {
    if (untilMs > nowMs) break;
    sessions.delete(session);
  }
}

function charsIn({ notes }: Noted, name: string): number {
  const text = notes.get(name);
  return text === undefined ? 0 : name.length + text.length;
}

/** A worker that is going hears nothing any more. */
export function tell(worker: Worker, message: ToWorker, onSent: () => void = () => undefined): void {
  if (worker.isConnected()) worker.send(message, onSent);
  else onSent();
}
