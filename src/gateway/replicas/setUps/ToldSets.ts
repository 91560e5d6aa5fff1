import { inGroups } from '../../../core/time/inSlices.js';
import type { Session } from '../../session/Session.js';

type Texts = Map<string, string | undefined>;

/** Of one session, by the names of its notes. */
interface Told {
  /** What others said, until it is looked up. */
  readonly waiting: Texts;
  /** What is being looked up. */
  readonly reading: Texts;
  /** What its client is setting here, as often as it does. */
  readonly setting: string[];
  /** Of the names that wait. */
  chars: number;
  isReading: boolean;
}

/** Characters of names that wait in one session: what it can have noted. Beyond it, what is told is lost. */
const MAX_WAITING_CHARS = 64 * 1_024;

export interface ToldSetsOptions {
  /** All that was noted of a session; undefined when that cannot be known. Never rejects. */
  readonly notesOf: (session: Session) => Promise<Readonly<Record<string, string>> | undefined>;
  readonly apply: (session: Session, name: string, text: string | undefined) => void;
}

/**
 * What other replicas say was set for sessions. Each noted it before it said so, but such words may cross each other, and what a client has said
 * here since: so what holds is what the notes say once a word has come. What its client is setting here is looked up behind that.
 */
export class ToldSets {
  readonly #options: ToldSetsOptions;
  readonly #told = new WeakMap<Session, Told>();

  constructor(options: ToldSetsOptions) {
    this.#options = options;
  }

  /** Another replica said so; its word holds where the notes cannot be read. */
  add(session: Session, name: string, text: string | undefined): void {
    const told = this.#of(session);
    this.#wait(told, name, text);
    void this.#lookUp(session, told);
  }

  /** Its client sets it here, by `set`, which notes it: what was read before that is read again. */
  async setting<T>(session: Session, name: string, set: () => Promise<T>): Promise<T> {
    const told = this.#of(session);
    const { reading, setting } = told;
    if (reading.has(name) && !told.waiting.has(name)) this.#wait(told, name, reading.get(name));
    reading.delete(name);
    setting.push(name);
    try {
      return await set();
    } finally {
      setting.splice(setting.indexOf(name), 1);
      void this.#lookUp(session, told);
    }
  }

  #of(session: Session): Told {
    const told = this.#told.get(session) ?? {
      waiting: new Map(),
      reading: new Map(),
      setting: [],
      chars: 0,
      isReading: false,
    };
    this.#told.set(session, told);
    return told;
  }

  #wait(told: Told, name: string, text: string | undefined): void {
    const chars = told.waiting.has(name) ? 0 : name.length;
    if (told.chars + chars > MAX_WAITING_CHARS) return;
    told.chars += chars;
    told.waiting.set(name, text);
  }

  /** One reading at a time, for all that was told before it. Never rejects. */
  async #lookUp(session: Session, told: Told): Promise<void> {
    const { waiting, reading, setting } = told;
    if (told.isReading) return;
    told.isReading = true;
    for (;;) {
      for (const [name, text] of waiting) if (!setting.includes(name)) reading.set(name, text);
      if (reading.size === 0) break;
      for (const name of reading.keys()) if (waiting.delete(name)) told.chars -= name.length;
      const notes = await this.#options.notesOf(session);
      await inGroups([...reading.keys()], (name) => {
        const text = notes === undefined ? reading.get(name) : notes[name];
        // Else its client has begun to set it here.
        if (reading.delete(name)) this.#options.apply(session, name, text);
      });
    }
    told.isReading = false;
  }
}
