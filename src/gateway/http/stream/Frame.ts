import { toldText } from '../../rpc/notices.js';
import type { HeldBytes } from '../HeldBytes.js';
import type { JsonBody } from '../respond.js';

const NEWLINES = /[\r\n]/;
const SPACE = 0x20;
/** What stands before a message. */
export const EVENT_BEGIN = 'event: message\ndata: ';

/**
 * One message as it goes down streams of events. However many streams wait to send it, they share its bytes, which count as
 * held once, from the first to the last of them.
 */
export class Frame {
  readonly bytes: Buffer;
  #holders = 0;

  /** The message, as JSON text. */
  get json(): string {
    return this.bytes.toString('utf8', EVENT_BEGIN.length, this.bytes.length - 2);
  }

  /** Of a message as JSON text. Newlines in it stand only between its tokens, where a space does as well. */
  constructor(json: JsonBody) {
    if (typeof json === 'string') {
      const data = NEWLINES.test(json) ? json.replace(/[\r\n]/g, ' ') : json;
      this.bytes = Buffer.from(`${EVENT_BEGIN}${data}\n\n`);
    } else this.bytes = framed(json instanceof Uint8Array ? [json] : json);
  }

  /** One stream more has it to send. False when there is no room for it among what is held for all. */
  hold(held: HeldBytes, toKeep = false): boolean {
    if (this.#holders === 0 && !held.take(this.bytes.length, toKeep)) return false;
    this.#holders++;
    return true;
  }

  release(held: HeldBytes): void {
    if (--this.#holders === 0) held.giveBack(this.bytes.length);
  }
}

/** The same of bytes, which are not made text: they may be many. */
function framed(parts: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(EVENT_BEGIN), ...parts.map(onOneLine), Buffer.from('\n\n')]);
}

/** JSON, or a piece of it, with spaces for newlines; the very bytes where there are none. */
export function onOneLine(json: Buffer): Buffer {
  if (!json.includes('\n') && !json.includes('\r')) return json;
  const line = Buffer.from(json);
  for (const newline of ['\n', '\r']) {
    for (let at = line.indexOf(newline); at >= 0; at = line.indexOf(newline, at + 1)) line[at] = SPACE;
  }
  return line;
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
