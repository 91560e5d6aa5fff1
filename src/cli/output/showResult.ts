import { randomUUID } from 'node:crypto';
import { withNumbers } from '../../connection/channel/codec/exactText.js';
import { utf8Text } from '../../core/text/utf8Text.js';
import { visible } from './visible.js';

/** The parts of a tool's result that are shown; a server may send anything in their places. */
interface ToolResult {
  readonly isError?: unknown;
  readonly content?: unknown;
  readonly structuredContent?: unknown;
}

export interface Shown {
  /** For stdout. */
  readonly text: string;
  /** Whether the tool answered with an error. */
  readonly failed: boolean;
  /** For stderr, when the tool failed without a word. */
  readonly complaint?: string;
}

/** Stands before a number's text while it is a string: no server knows it. */
const NUMBER = `number ${randomUUID()} `;
const NUMBERS = new RegExp(`"${NUMBER}([^"]*)"`, 'g');

/** A tool's result for people, of its JSON: its texts as they are, other content as one line of JSON each; or all of it as JSON. Numbers keep their digits. */
export function showResult(tool: string, raw: Uint8Array, json: boolean): Shown {
  const written = utf8Text(Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength));
  const result: unknown = JSON.parse(withNumbers(written, (number) => `"${NUMBER}${number}"`));
  const { isError, content, structuredContent } = (
    typeof result === 'object' && result !== null ? result : {}
  ) as ToolResult;
  const failed = isError === true;
  if (json) return { text: `${visible(jsonOf(tool, result, 2))}\n`, failed };
  const blocks = Array.isArray(content)
    ? (content as unknown[])
    : content === undefined || content === null
      ? []
      : [content];
  const lines = blocks.map((block) => lineOf(tool, block));
  // Without content the data is the answer; a result of neither shows as it is, unless it is empty.
  if (lines.length === 0 && structuredContent !== undefined) lines.push(visible(jsonOf(tool, structuredContent)));
  else if (lines.length === 0 && hasData(result)) lines.push(visible(jsonOf(tool, result)));
  const text = lines.map((line) => `${line}\n`).join('');
  return { text, failed, ...(failed && text === '' && { complaint: `the tool ${tool} failed and said nothing` }) };
}

function lineOf(tool: string, block: unknown): string {
  if (isText(block)) return block;
  const { type, text } = (typeof block === 'object' && block !== null ? block : {}) as {
    type?: unknown;
    text?: unknown;
  };
  return type === 'text' && isText(text) ? text : visible(jsonOf(tool, block));
}

const isText = (value: unknown): value is string => typeof value === 'string' && !value.startsWith(NUMBER);

function jsonOf(tool: string, value: unknown, indent?: number): string {
  try {
    return (JSON.stringify(value, undefined, indent) ?? 'null').replace(NUMBERS, '$1');
  } catch (error) {
    throw new Error(`the tool ${tool} answered, but its result cannot be printed: it is nested too deep`, {
      cause: error,
    });
  }
}

function hasData(result: unknown): boolean {
  if (typeof result !== 'object' || result === null) return result !== undefined;
  return Object.keys(result).some((key) => !['content', 'isError', '_meta', 'resultType'].includes(key));
}

/** Writes it all, so that it cannot steer a terminal. */
export const writeOut = (text: string): Promise<void> => writeAsIs(visible(text));

/** What a server said, as it is; on a terminal so that it cannot steer it. */
export const writeSaid = (text: string): Promise<void> =>
  process.stdout.isTTY ? writeOut(text.replaceAll('\r\n', '\n')) : writeAsIs(text);

/** Writes it all, however slow the reader is. A reader that has gone takes nothing more. */
export function writeAsIs(text: string): Promise<void> {
  return new Promise((resolve) => {
    if (text === '') resolve();
    else process.stdout.write(text, () => resolve());
  });
}
