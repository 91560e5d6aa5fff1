import { utf8Text } from '../../../core/text/utf8Text.js';
import { inSlices } from '../../../core/time/inSlices.js';
import { toldText } from '../../rpc/notices.js';
import type { HeldBytes } from '../HeldBytes.js';
import { bytesOf, type JsonBody } from '../respond.js';

/** Of one line, and a byte for each character. */
const ASCII = /^[ -~]*$/;
const SMALL_BYTES = 8 * 1_024;
/** A notification up to this size is copied for each stream: that takes less than what it takes to write it by itself. */
export const COPIED_BYTES = 1_024;
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
/** What one takes beside its bytes, and each buffer of one that is no text; measured, with what the heap needs around it. */
const FRAME_BYTES = 128;
const BUFFER_BYTES = 256;

const NO_PARTS: readonly Buffer[] = [];

/** Whose share it is what readers of several owners have yet to take. */
const SEVERAL = 'several';

/**
 * One message as it goes down streams of events. However many streams wait to send it, they share its bytes, which count as
 * held once, from the first to the last of them. What is kept of it for a client that may come back, and is for no one else, gives way.
 */
export class Frame {
  /** Of its bytes. */
  readonly length: number;
  /** Its bytes, a character each: of a small one. It is quicker written beside others than a buffer. */
  readonly latin1: string | undefined;
  readonly #parts: readonly Buffer[];
  #holders = 0;
  /** Those of whom may be asked to give way. */
  #keepers = 0;
  /** Whose share its holders count to. */
  #owner = '';

  /** Of a message as JSON text. Newlines in it stand only between its tokens, where a space does as well. `smallBytes`: one up to this size is text. */
  constructor(json: JsonBody, smallBytes = SMALL_BYTES) {
    this.latin1 = smallText(json, smallBytes);
    this.#parts = this.latin1 === undefined ? framed(json) : NO_PARTS;
    this.length = this.latin1?.length ?? bytesOf(this.#parts);
  }

  /** Its bytes, always the same ones, where it is not `latin1`. Of a large one they are not joined. */
  get parts(): readonly Buffer[] {
    return this.#parts;
  }

  /** What it takes, and counts as while it is held. */
  get heldBytes(): number {
    return this.length + FRAME_BYTES + BUFFER_BYTES * this.#parts.length;
  }

  /** What it takes beside that for each stream. */
  get ownBytes(): number {
    return 0;
  }

  /** The message, as JSON text. */
  get json(): string {
    const bytes = this.latin1 === undefined ? Buffer.concat(this.#parts) : Buffer.from(this.latin1, 'latin1');
    return utf8Text(bytes.subarray(EVENT_BEGIN.length, this.length - 2));
  }

  /** One stream more of that owner has it to send. False when there is no room for it among what the owner, or all, may hold. */
  hold(held: HeldBytes, owner: string, toKeep = false): boolean {
    const { heldBytes } = this;
    if (this.#holders > 0) {
      if (this.#owner !== owner && this.#owner !== SEVERAL) {
        if (!held.handOver(this.#owner, SEVERAL, heldBytes)) return false;
        this.#owner = SEVERAL;
      }
    } else {
      const fits = this.#keepers > 0 ? held.reclaim(owner, heldBytes) : held.takeFor(owner, heldBytes, 0, toKeep);
      if (!fits) return false;
      this.#owner = owner;
    }
    this.#holders++;
    return true;
  }

  release(held: HeldBytes): void {
    if (--this.#holders > 0) return;
    if (this.#keepers > 0) held.spare(this.#owner, this.heldBytes);
    else held.giveBackFor(this.#owner, this.heldBytes);
  }

  /** One that holds it only keeps it from here on. */
  spare(held: HeldBytes): void {
    this.#keepers++;
    this.release(held);
  }

  /** It is kept no longer. */
  drop(held: HeldBytes): void {
    if (--this.#keepers === 0 && this.#holders === 0) held.dropSpare(this.heldBytes);
  }
}

/** A frame that many share but for its label, which is one stream's own: neither makes a copy of the other. */
export class LabelledFrame {
  readonly latin1 = undefined;
  readonly parts: readonly Buffer[];
  readonly #shared: Frame;

  /** `at`: so many bytes of the message stand before the label. The shared one was made of text, and is not small. */
  constructor(shared: Frame, at: number, label: string) {
    const [bytes = BEGIN] = shared.parts;
    const place = BEGIN.length + at;
    this.#shared = shared;
    this.parts = [bytes.subarray(0, place), Buffer.from(label), bytes.subarray(place)];
  }

  get heldBytes(): number {
    return this.#shared.heldBytes;
  }

  /** What it takes beside the shared one. */
  get ownBytes(): number {
    return (this.parts[1]?.length ?? 0) + BUFFER_BYTES * this.parts.length;
  }

  hold(held: HeldBytes, owner: string): boolean {
    return this.#shared.hold(held, owner);
  }

  release(held: HeldBytes): void {
    this.#shared.release(held);
  }
}

export type EventFrame = Frame | LabelledFrame;

export const isFrame = (message: unknown): message is EventFrame =>
  message instanceof Frame || message instanceof LabelledFrame;

/**
 * A small message, framed; a character for each byte. Undefined for one that is not small. It is one flat string, which holds none of the
 * strings that it was made of.
 */
function smallText(json: JsonBody, smallBytes: number): string | undefined {
  if (typeof json === 'string') {
    if (json.length > smallBytes) return undefined;
    return ASCII.test(json) ? flat(json) : smallText(Buffer.from(json), smallBytes);
  }
  if (bytesOf(json) > smallBytes) return undefined;
  return flat(
    spaced(json instanceof Uint8Array ? json.toString('latin1') : json.map((part) => part.toString('latin1')).join('')),
  );
}

/** A template would keep its parts beside it until it is read. */
const flat = (line: string): string => [EVENT_BEGIN, line, '\n\n'].join('');

/** Bytes are not made text, nor joined: they may be many. */
function framed(json: JsonBody): readonly Buffer[] {
  if (typeof json === 'string') return [Buffer.from(`${EVENT_BEGIN}${spaced(json)}\n\n`)];
  const parts = [BEGIN, ...(json instanceof Uint8Array ? [json] : json).map(onOneLine), END];
  return bytesOf(parts) > LARGE_BYTES ? parts : [Buffer.concat(parts)];
}

const spaced = (json: string): string =>
  json.includes('\n') || json.includes('\r') ? json.replace(/[\r\n]/g, ' ') : json;

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

/**
 * Makes the frames of notifications: the same one for all streams that are told of one within a turn of the event loop, also where
 * others are told of it by another name between them.
 */
export class NoticeFrames {
  /** By params, which are another object in each notification; by method where there are none. */
  readonly #made = new Map<unknown, { readonly method: string; readonly frame: Frame }>();

  of(method: string, params: unknown): Frame {
    const key = params ?? method;
    const known = this.#made.get(key);
    if (known?.method === method) return known.frame;
    if (this.#made.size === 0) queueMicrotask(() => this.#made.clear());
    // Many streams share the bytes of a larger one, and none makes a copy.
    const frame = new Frame(toldText({ method, params }), COPIED_BYTES);
    this.#made.set(key, { method, frame });
    return frame;
  }
}
