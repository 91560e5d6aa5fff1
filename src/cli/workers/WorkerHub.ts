import type { Worker } from 'node:cluster';
import type { Clock } from '../../core/clock.js';
import { hasRoom, MAX_SENDING_BYTES, sendingBytes } from '../../gateway/replicas/sendingRoom.js';
import type { FromWorker, ToWorker } from './messages.js';

/** Sessions of which something is noted; beyond it the one that was noted first is forgotten. */
const MAX_SESSIONS = 100_000;

/** Characters of all notes; beyond it the session that was noted first is forgotten. */
const MAX_CHARS = 32 * 1_024 * 1_024;

/** Of all that waits for a worker, with what may not be lost: one that is so far behind does not read. */
const MAX_HELD_BYTES = 2 * MAX_SENDING_BYTES;

interface Noted {
  readonly notes: Map<string, string>;
  untilMs: number;
}

/** What the workers of one machine tell each other and remember together, in the primary process. */
export class WorkerHub {
  readonly #clock: Clock;
  /** Each worker, and what its gateway is known by. */
  readonly #workers = new Map<Worker, string>();
  readonly #sessions = new Map<string, Noted>();
  #chars = 0;
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
    const noted = this.#sessions.get(key);
    return noted === undefined || noted.untilMs < this.#clock.now() ? {} : Object.fromEntries(noted.notes);
  }

  #note({ session, name, text, lifeMs }: Extract<FromWorker, { type: 'note' }>): void {
    const nowMs = this.#clock.now();
    const noted = this.#sessions.get(session) ?? { notes: new Map<string, string>(), untilMs: 0 };
    // Not all of them are counted anew: a client may have many, and set one again and again.
    this.#chars -= charsIn(noted, name);
    if (text === undefined) noted.notes.delete(name);
    else noted.notes.set(name, text);
    this.#chars += charsIn(noted, name);
    noted.untilMs = nowMs + lifeMs;
    this.#sessions.delete(session);
    this.#sessions.set(session, noted);
    for (const [key, oldest] of this.#sessions) {
      if (oldest.untilMs > nowMs && this.#sessions.size <= MAX_SESSIONS && this.#chars <= MAX_CHARS) break;
      this.#sessions.delete(key);
      this.#chars -= charsOf(oldest);
    }
  }
}

function charsOf(noted: Noted): number {
  let chars = 0;
  for (const name of noted.notes.keys()) chars += charsIn(noted, name);
  return chars;
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
