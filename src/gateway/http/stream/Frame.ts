import { inSlices } from '../../../core/time/inSlices.js';
import { toldText } from '../../rpc/notices.js';
import type { HeldBytes } from '../HeldBytes.js';
import { bytesOf, type JsonBody } from '../respond.js';

/** Of one line, and a byte for each character. */
const ASCII = /^[ -~]*$/;
const SMALL_BYTES = 8 * 1_024;
/** A notification up to this size is copied for each stream. */
const COPIED_BYTES = 1_024;
const SPACE = 0x20;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** Parts of a larger frame stay parts. */
const LARGE_BYTES = 256 * 1_024;
/** A smaller result is gone through in no time. */
const PREPARED_BYTES = 1_024 * 1_024;
/** So much is gone through between two looks at the clock. */
const STEP_BYTES = 256 * 1_024;
/** What stands before a message. */
export const EVENT_BEGIN = 'event: message\ndata: ';
const BEGIN = Buffer.from(EVENT_BEGIN);
const END = Buffer.from('\n\n');

/** Whose share it is what readers of several owners have yet to take. */
const SEVERAL = 'several';

/**
 * One message as it goes down streams of events. However many streams wait to send it, they share its bytes, which count as
 * held once, from the first to the last of them. What is kept of it for a client that may come back, and is for no one else, gives way.
 */
export class Frame {
  /** Of its bytes. */
  readonly length: number;
  #latin1: string | undefined;
  #parts: readonly Buffer[] | undefined;
  #holders = 0;
  /** Those of whom may be asked to give way. */
  #keepers = 0;
  /** Whose share its holders count to. */
  #owner = '';

  /** Of a message as JSON text. Newlines in it stand only between its tokens, where a space does as well. */
  constructor(json: JsonBody) {
    this.#latin1 = smallText(json);
    if (this.#latin1 === undefined) this.#parts = framed(json);
    this.length = this.#latin1?.length ?? bytesOf(this.#parts ?? []);
  }

  /** Its bytes, a character each: of a small one that no one has asked for `parts`. It is quicker written beside others than a buffer. */
  get latin1(): string | undefined {
    return this.#latin1;
  }

  /** Its bytes, always the same ones: from here on it is these alone. Of a large one they are not joined. */
  parts(): readonly Buffer[] {
    this.#parts ??= [Buffer.from(this.#latin1 ?? '', 'latin1')];
    this.#latin1 = undefined;
    return this.#parts;
  }

  /** The message, as JSON text. */
  get json(): string {
    const bytes = this.#parts === undefined ? Buffer.from(this.#latin1 ?? '', 'latin1') : Buffer.concat(this.#parts);
    return bytes.toString('utf8', EVENT_BEGIN.length, this.length - 2);
  }

  /** One stream more of that owner has it to send. False when there is no room for it among what the owner, or all, may hold. */
  hold(held: HeldBytes, owner: string, toKeep = false): boolean {
    const { length } = this;
    if (this.#holders > 0) {
      if (this.#owner !== owner && this.#owner !== SEVERAL) {
        if (!held.handOver(this.#owner, SEVERAL, length)) return false;
        this.#owner = SEVERAL;
      }
    } else {
      const fits = this.#keepers > 0 ? held.reclaim(owner, length) : held.takeFor(owner, length, 0, toKeep);
      if (!fits) return false;
      this.#owner = owner;
    }
    this.#holders++;
    return true;
  }

  release(held: HeldBytes): void {
    if (--this.#holders > 0) return;
    if (this.#keepers > 0) held.spare(this.#owner, this.length);
    else held.giveBackFor(this.#owner, this.length);
  }

  /** One that holds it only keeps it from here on. */
  spare(held: HeldBytes): void {
    this.#keepers++;
    this.release(held);
  }

  /** It is kept no longer. */
  drop(held: HeldBytes): void {
    if (--this.#keepers === 0 && this.#holders === 0) held.dropSpare(this.length);
  }
}

/** A small message, framed; a character for each byte. Undefined for one that is not small. */
function smallText(json: JsonBody): string | undefined {
  if (typeof json === 'string') {
    if (json.length > SMALL_BYTES) return undefined;
    if (ASCII.test(json)) return `${EVENT_BEGIN}${json}\n\n`;
    return smallText(Buffer.from(json));
  }
  if (bytesOf(json) > SMALL_BYTES) return undefined;
  const text =
    json instanceof Uint8Array ? json.toString('latin1') : json.map((part) => part.toString('latin1')).join('');
  return `${EVENT_BEGIN}${spaced(text)}\n\n`;
}

/** Bytes are not made text, nor joined: they may be many. */
function framed(json: JsonBody): readonly Buffer[] {
  if (typeof json === 'string') return [Buffer.from(`${EVENT_BEGIN}${spaced(json)}\n\n`)];
  const parts = [BEGIN, ...(json instanceof Uint8Array ? [json] : json).map(onOneLine), END];
  return bytesOf(parts) > LARGE_BYTES ? parts : [Buffer.concat(parts)];
}

const spaced = (json: string): string => json.replace(/[\r\n]/g, ' ');

/** JSON, or a piece of it, with spaces for newlines; the very bytes where there are none. */
export function onOneLine(json: Buffer): Buffer {
  const first = newlineIn(json);
  if (first < 0) return json;
  const line = Buffer.from(json);
  space(line, first);
  return line;
}

/** A result of a MiB or more as it can stand in an event, made so in turns of the event loop; undefined for any other. */
export function preparedForEvent(result: unknown): Promise<Buffer> | undefined {
  if (!(result instanceof Uint8Array) || result.length < PREPARED_BYTES) return undefined;
  return onOneLineInTurns(Buffer.from(result.buffer, result.byteOffset, result.length));
}

async function onOneLineInTurns(json: Buffer): Promise<Buffer> {
  if (newlineIn(json) < 0) return json;
  // What is not written yet takes no memory.
  const line = Buffer.allocUnsafeSlow(json.length);
  let at = 0;
  await inSlices(() => {
    const piece = line.subarray(at, at + STEP_BYTES);
    json.copy(piece, 0, at);
    const first = newlineIn(piece);
    if (first >= 0) space(piece, first);
    at += piece.length;
    return at === json.length;
  }, 1);
  return line;
}

function newlineIn(json: Buffer): number {
  const newline = json.indexOf(NEWLINE);
  const other = newline < 0 ? json.indexOf(RETURN) : json.subarray(0, newline).indexOf(RETURN);
  return other < 0 ? newline : other;
}

/** Where they stand close, each search for the next would take longer than all bytes between. */
function space(line: Buffer, from: number): void {
  for (let at = from; at < line.length; at++) {
    const byte = line[at];
    if (byte === NEWLINE || byte === RETURN) line[at] = SPACE;
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
    // Many streams share its bytes, and none makes a copy; of a small one a copy takes less than what it takes to write it by itself.
    if (this.#frame.length > COPIED_BYTES) this.#frame.parts();
    return this.#frame;
  }

  #forget(): void {
    this.#frame = undefined;
    this.#params = undefined;
  }
}
