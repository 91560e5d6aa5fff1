import { messageOf } from '../../core/errors.js';
import type { StatusData } from '../../gateway/status/StatusData.js';

/** Where `serve` listens when nothing else is said. */
export const DEFAULT_URL = 'http://127.0.0.1:3399';
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 64 * 1_024 * 1_024;

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
  if (Number(response.headers.get('content-length')) > MAX_BYTES) throw new Error(`${target} answered too much`);
  try {
    const data = (await response.json()) as StatusData;
    if (Array.isArray(data.snapshot.servers)) return data;
  } catch {
    // Told below.
  }
  throw new Error(`${target} is no gateway of mcp-poolkit`);
}

function headerOf(text: string): [string, string] {
  const colon = text.indexOf(':');
  if (colon <= 0) throw new Error(`a header is a name, a colon and a value: ${JSON.stringify(text)}`);
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}
