import { randomBytes } from 'node:crypto';
import type { ReplicaLink } from '../../gateway/replicas/ReplicaLink.js';
import { hasRoom, sendingBytes } from '../../gateway/replicas/sendingRoom.js';
import type { FromWorker, ToWorker } from './messages.js';

/** The other workers, by way of the primary process. */
export class WorkerLink implements ReplicaLink {
  readonly id = randomBytes(4).toString('hex');
  readonly #tell: (message: FromWorker) => void;
  readonly #listeners = new Set<(message: string) => void>();
  readonly #asked = new Map<number, (value: unknown) => void>();
  #next = 1;
  /** Bytes of what the primary has not read yet, as far as is known. */
  #waiting = 0;
  /** It was asked behind some of them. */
  #asking = false;

  constructor(tell: (message: FromWorker) => void) {
    this.#tell = tell;
    tell({ type: 'hello', id: this.id });
  }

  /** What the primary says. */
  heard(message: ToWorker): void {
    if (message.type === 'told') for (const listener of this.#listeners) listener(message.text);
    if (message.type !== 'answer') return;
    this.#asked.get(message.id)?.(message.value);
    this.#asked.delete(message.id);
  }

  publish(text: string, mayBeLost = false, to?: string): void {
    const bytes = sendingBytes(text);
    if (!hasRoom(bytes, this.#waiting, mayBeLost)) return;
    this.#tell({ type: 'publish', text, ...(mayBeLost && { mayBeLost }), ...(to !== undefined && { to }) });
    this.#waiting += bytes;
    this.#askBehind();
  }

  /** What is asked behind all that was told is answered once that was read: one question at a time. */
  #askBehind(): void {
    if (this.#asking) return;
    this.#asking = true;
    const before = this.#waiting;
    void this.#ask('alive', this.id).then(() => {
      this.#asking = false;
      this.#waiting -= before;
      if (this.#waiting > 0) this.#askBehind();
    });
  }

  listen(onMessage: (message: string) => void): Disposable {
    this.#listeners.add(onMessage);
    return { [Symbol.dispose]: () => void this.#listeners.delete(onMessage) };
  }

  async note(session: string, name: string, text: string | undefined, lifeMs: number, owner: string): Promise<void> {
    this.#tell({ type: 'note', session, owner, name, lifeMs, ...(text !== undefined && { text }) });
    // What is asked behind it is answered once it was read.
    await this.#ask('alive', this.id);
  }

  async notes(session: string): Promise<Readonly<Record<string, string>>> {
    return (await this.#ask('notes', session)) as Readonly<Record<string, string>>;
  }

  async isAlive(replica: string): Promise<boolean> {
    return (await this.#ask('alive', replica)) === true;
  }

  /** The primary answers as long as it lives, and this process ends with it. */
  #ask(what: 'notes' | 'alive', key: string): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      this.#tell({ type: 'ask', id, what, key });
    });
  }
}
