import { crc32 } from 'node:zlib';
import { inSlices } from '../../core/time/inSlices.js';
import { deepFreeze, type EntryHead, ITEM_END } from '../entries/Entry.js';

/*
 * A file: one line of fixed length, `mcp-poolkit-cache <version> <crc32> <length>`, then the header as one line of
 * JSON, then the value as JSON. Checksum and length are of everything after the first line, so that line is a function
 * of the rest: whatever byte changes or is missing, the two no longer agree.
 */

/** Of the format; it also names the folder, so that two versions of the toolkit do not quarantine each other's files. */
export const FORMAT_VERSION = 1;

const NEWLINE = 0x0a;
const LENGTH_DIGITS = 10;
const firstLine = (rest: Uint8Array): string =>
  `mcp-poolkit-cache ${FORMAT_VERSION} ${crc32(rest).toString(16).padStart(8, '0')} ` +
  `${String(rest.length).padStart(LENGTH_DIGITS, '0')}\n`;

const PREFIX_BYTES = firstLine(new Uint8Array()).length;

/** What a file may have beyond its value. */
export const ENVELOPE_BYTES = 4_096;

/** Whether a value's file would be read again: the value within its bound, and a server's name within the envelope's. */
export const fitsFile = (head: EntryHead, bytes: number, maxEntryBytes: number): boolean =>
  bytes <= maxEntryBytes && bytes + MAX_ESCAPED * head.server.length + HEADER_BYTES <= maxEntryBytes + ENVELOPE_BYTES;

/** A header without its server's name, and what JSON makes of a control character. */
const HEADER_BYTES = 512;
const MAX_ESCAPED = 6;

/** So much text is made into bytes at a time. */
const PIECE_CHARS = 64 * 1_024;

/** `texts`: the value as JSON, in pieces. A long list is written in turns of the event loop. */
export async function encodeFile(head: EntryHead, texts: Iterator<string>): Promise<Buffer> {
  const stored = { ...head, ttlMs: finite(head.ttlMs), staleMs: finite(head.staleMs) };
  const parts = [Buffer.alloc(PREFIX_BYTES), Buffer.from(`${JSON.stringify(stored)}\n`)];
  let text = '';
  await inSlices(() => {
    const { done, value } = texts.next();
    if (done !== true) text += value;
    if (done !== true && text.length < PIECE_CHARS) return false;
    parts.push(Buffer.from(text));
    text = '';
    return done === true;
  });
  const bytes = Buffer.concat(parts);
  bytes.write(firstLine(bytes.subarray(PREFIX_BYTES)), 0, 'latin1');
  return bytes;
}

export interface Decoded {
  readonly head: EntryHead;
  readonly value: unknown;
  readonly bytes: number;
}

/** The value, frozen; or, as a string, why the file is none of ours. A long list is read in turns of the event loop. */
export async function decodeFile(file: string, bytes: Buffer): Promise<Decoded | string> {
  const rest = bytes.subarray(PREFIX_BYTES);
  if (bytes.toString('latin1', 0, PREFIX_BYTES) !== firstLine(rest)) return 'its checksum, length or version is wrong';
  const start = rest.indexOf(NEWLINE) + 1;
  try {
    const head = JSON.parse(rest.toString('utf8', 0, start)) as Record<keyof EntryHead, unknown>;
    if (head.file !== file) return 'it belongs to another key';
    if (typeof head.setAt !== 'number' || typeof head.server !== 'string') return 'its header is not one of ours';
    return {
      head: {
        file,
        server: head.server,
        setAt: head.setAt,
        ttlMs: duration(head.ttlMs),
        staleMs: duration(head.staleMs),
        shared: head.shared === true,
        outdated: head.outdated === true,
      },
      value: await parsed(rest.toString('utf8', start)),
      bytes: rest.length - start,
    };
  } catch (error) {
    if (error instanceof SyntaxError) return 'it is not JSON';
    throw error;
  }
}

async function parsed(text: string): Promise<unknown> {
  // Earlier versions wrote all of a list in one line.
  if (!text.startsWith('[') || !text.includes(ITEM_END)) return deepFreeze(JSON.parse(text));
  const texts = text.slice(1, -1).split(ITEM_END);
  const items: unknown[] = [];
  await inSlices(() => {
    const item = texts[items.length];
    if (item !== undefined) items.push(deepFreeze(JSON.parse(item)));
    return item === undefined;
  });
  return Object.freeze(items);
}

/** JSON has no Infinity. */
const finite = (ms: number): number | null => (ms === Number.POSITIVE_INFINITY ? null : ms);
const duration = (stored: unknown): number =>
  stored === null ? Number.POSITIVE_INFINITY : typeof stored === 'number' ? stored : 0;
