import { visible } from './visible.js';

/** What a server, a client or a child wrote moves no cursor, changes no colour and ends no line. */
export function plain(text: string, max = Number.POSITIVE_INFINITY): string {
  const safe = visible(text).replace(/[\n\t]/g, ' ');
  return safe.length > max ? `${safe.slice(0, Math.max(0, max - 1))}…` : safe;
}
