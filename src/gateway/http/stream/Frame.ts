import { toldText } from '../../rpc/notices.js';
import type { HeldBytes } from '../HeldBytes.js';

const NEWLINES = /[\r\n]/;
const BEFORE = 'event: message\ndata: ';

/**
 * One message as it goes down streams of events. However many streams wait to send it, they share its bytes, which count as
 * held once, from the first to the last of them.
 */
export class Frame {
  readonly bytes: Buffer;
  #holders = 0;

  /** The message, as JSON text. */
  get json(): string {
    return this.bytes.toString('utf8', BEFORE.length, this.bytes.length - 2);
  }

  /** Of a message as JSON text. Newlines in it stand only between its tokens, where a space does as well. */
  constructor(json: string) {
    const data = NEWLINES.test(json) ? json.replace(/[\r\n]/g, ' ') : json;
    this.bytes = Buffer.from(`${BEFORE}${data}\n\n`);
  }

  /** One stream more has it to send. False when there is no room for it among what is held for all. */
  hold(held: HeldBytes): boolean {
    if (this.#holders === 0 && !held.take(this.bytes.length)) return false;
    this.#holders++;
    return true;
  }

  release(held: HeldBytes): void {
    if (--this.#holders === 0) held.giveBack(this.bytes.length);
  }
}

/** Makes the frames of notifications: the same one for all streams that are told of one within a turn of the event loop. */
export class NoticeFrames {
  #method: string | undefined;
  #params: unknown;
  #frame: Frame | undefined;

  of(method: string, params: unknown): Frame {
    if (this.#frame !== undefined && this.#method === method && this.#params === params) return this.#frame;
    if (this.#frame === undefined) queueMicrotask(() => this.#forget());
    this.#method = method;
    this.#params = params;
    this.#frame = new Frame(toldText({ method, params }));
    return this.#frame;
  }

  #forget(): void {
    this.#frame = undefined;
    this.#params = undefined;
  }
}
