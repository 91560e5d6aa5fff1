import { messageOf } from '../../core/errors.js';
import type { StatusData } from '../../gateway/status/StatusData.js';
import { statusLines } from './render.js';

/** Where `serve` listens when nothing else is said. */
export const DEFAULT_URL = 'http://127.0.0.1:3399';
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 16 * 1_024 * 1_024;

export interface StatusSource {
  readonly url: string;
  /** As `Name: value`. */
  readonly header?: readonly string[];
}

/** Asks a running gateway how it stands. @throws Error with one clear line */
export async function readStatus({ url, header = [] }: StatusSource): Promise<StatusData> {
  const target = `${url.replace(/\/+$/, '').replace(/\/(status|mcp)$/, '')}/status/data.json`;
  let response: Response;
  try {
    const headers = Object.fromEntries(header.map(headerOf));
    response = await fetch(target, { headers, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Error(`no gateway answers at ${target}: ${messageOf(cause)} (--url says where it is)`, { cause: error });
  }
  if (response.status === 401) throw new Error(`${target} wants to know who asks: --header 'Authorization: …'`);
  if (response.status === 404) throw new Error(`${target} is not there: the gateway's status is off, or it is none`);
  if (!response.ok) throw new Error(`${target} answered ${response.status}`);
  const text = await textOf(response);
  if (text === undefined) throw new Error(`${target} answered too much`);
  try {
    const data = JSON.parse(text) as StatusData;
    // What is shown of it is what a gateway sends, or nothing.
    statusLines(data);
    return data;
  } catch {
    throw new Error(`${target} is no gateway of mcp-poolkit`);
  }
}

/** Undefined when it is more than any gateway sends: no more of it is read then. */
async function textOf({ body }: Response): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body ?? []) {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) return undefined;
      chunks.push(chunk);
    }
  } catch (error) {
    throw new Error(`the gateway's answer broke off: ${messageOf(error)}`, { cause: error });
  }
  return Buffer.concat(chunks).toString();
}

function headerOf(text: string): [string, string] {
  const colon = text.indexOf(':');
  if (colon <= 0) throw new Error(`a header is a name, a colon and a value: ${JSON.stringify(text)}`);
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}
