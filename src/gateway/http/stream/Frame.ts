import { toldText } from '../../rpc/notices.js';
import type { HeldBytes } from '../HeldBytes.js';
import { bytesOf, type JsonBody } from '../respond.js';

/** Of one line, and a byte for each character. */
const ASCII = /^[ -~]*$/;
const SMALL_BYTES = 8 * 1_024;
const SPACE = 0x20;
/** What stands before a message. */
export const EVENT_BEGIN = 'event: message\ndata: ';

/**
 * One message as it goes down streams of events. However many streams wait to send it, they share its bytes, which count as
 * held once, from the first to the last of them.
 */
export class Frame {
  /** Of its bytes. */
  readonly length: number;
  #latin1: string | undefined;
  #bytes: Buffer | undefined;
  #holders = 0;

  /** Of a message as JSON text. Newlines in it stand only between its tokens, where a space does as well. */
  constructor(json: JsonBody) {
    this.#latin1 = smallText(json);
    if (this.#latin1 === undefined) this.#bytes = framed(json);
    this.length = (this.#latin1 ?? this.#bytes)?.length ?? 0;
  }

  /** Its bytes, a character each: of a small one that no one has asked for `bytes`. It is quicker written beside others than a buffer. */
  get latin1(): string | undefined {
    return this.#latin1;
  }

  /** Its bytes, always the same ones: from here on it is these alone. */
  bytes(): Buffer {
    this.#bytes ??= Buffer.from(this.#latin1 ?? '', 'latin1');
    this.#latin1 = undefined;
    return this.#bytes;
  }

  /** The message, as JSON text. */
  get json(): string {
    const bytes = this.#bytes ?? Buffer.from(this.#latin1 ?? '', 'latin1');
    return bytes.toString('utf8', EVENT_BEGIN.length, this.length - 2);
  }

  /** One stream more has it to send. False when there is no room for it among what is held for all. */
  hold(held: HeldBytes, toKeep = false): boolean {
    if (this.#holders === 0 && !held.take(this.length, toKeep)) return false;
    this.#holders++;
    return true;
  }

  release(held: HeldBytes): void {
    if (--this.#holders === 0) held.giveBack(this.length);
  }
}

/** A small message, framed; a character for each byte. Undefined for one that is not small, or is to be encoded first. */
function smallText(json: JsonBody): string | undefined {
  if (typeof json === 'string') {
    return json.length <= SMALL_BYTES && ASCII.test(json) ? `${EVENT_BEGIN}${json}\n\n` : undefined;
  }
  if (bytesOf(json) > SMALL_BYTES) return undefined;
  const text =
    json instanceof Uint8Array ? json.toString('latin1') : json.map((part) => part.toString('latin1')).join('');
  return `${EVENT_BEGIN}${spaced(text)}\n\n`;
}

/** Bytes are not made text: they may be many. */
function framed(json: JsonBody): Buffer {
  if (typeof json === 'string') return Buffer.from(`${EVENT_BEGIN}${spaced(json)}\n\n`);
  const parts = json instanceof Uint8Array ? [json] : json;
  return Buffer.concat([Buffer.from(EVENT_BEGIN), ...parts.map(onOneLine), Buffer.from('\n\n')]);
}

const spaced = (json: string): string => json.replace(/[\r\n]/g, ' ');

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
    // Many streams share its bytes, and none makes a copy.
    this.#frame.bytes();
    return this.#frame;
  }

  #forget(): void {
    this.#frame = undefined;
    this.#params = undefined;
  }
}
