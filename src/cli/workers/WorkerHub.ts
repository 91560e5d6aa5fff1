import type { Worker } from 'node:cluster';
import type { Clock } from '../../core/clock.js';
import { hasRoom, MAX_SENDING_BYTES, sendingBytes } from '../../gateway/replicas/sendingRoom.js';
import type { FromWorker, ToWorker } from './messages.js';

/** Sessions of which little is noted, as that one has ended, and of which much is; beyond it the one that was noted first is forgotten. */
const MAX_SESSIONS = 100_000;
/** So many characters are little: sessions with more drive out none of those. */
const LITTLE = 64;

/** Characters of all notes of sessions that have more; beyond it the session that was noted first is forgotten. */
const MAX_CHARS = 32 * 1_024 * 1_024;

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
  /** Those with little and those with more, the first noted first. */
  readonly #little = new Map<string, Noted>();
  readonly #more = new Map<string, Noted>();
  /** Of those with more. */
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
    const noted = this.#little.get(key) ?? this.#more.get(key);
    return noted === undefined || noted.untilMs < this.#clock.now() ? {} : Object.fromEntries(noted.notes);
  }

  #note({ session, name, text, lifeMs }: Extract<FromWorker, { type: 'note' }>): void {
    const nowMs = this.#clock.now();
    const noted = this.#taken(session) ?? { notes: new Map<string, string>(), chars: 0, untilMs: 0 };
    // Not all of them are counted anew: a client may have many, and set one again and again.
    noted.chars -= charsIn(noted, name);
    if (text === undefined) noted.notes.delete(name);
    else noted.notes.set(name, text);
    noted.chars += charsIn(noted, name);
    noted.untilMs = nowMs + lifeMs;
    const isMore = noted.chars > LITTLE;
    (isMore ? this.#more : this.#little).set(session, noted);
    if (isMore) this.#chars += noted.chars;
    for (const all of [this.#little, this.#more]) {
      for (const [key, oldest] of all) {
        const fits = all.size <= MAX_SESSIONS && (all === this.#little || this.#chars <= MAX_CHARS);
        if (oldest.untilMs > nowMs && fits) break;
        this.#taken(key);
      }
    }
  }

  /** Takes out what is noted of a session. */
  #taken(session: string): Noted | undefined {
    const little = this.#little.get(session);
    const more = this.#more.get(session);
    this.#little.delete(session);
    if (this.#more.delete(session)) this.#chars -= more?.chars ?? 0;
    return little ?? more;
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
