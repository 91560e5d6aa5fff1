import { visible } from './visible.js';

/** The beginning of a text that is longer. */
export const cut = (text: string, max: number): string =>
  text.length > max ? `${text.slice(0, Math.max(0, max - 1))}…` : text;

/** What a server, a client or a child wrote moves no cursor, changes no colour and ends no line. */
export function plain(text: string, max = Number.POSITIVE_INFINITY): string {
  // Spelled out it is no shorter: what is beyond is not looked at, however much.
  return cut(visible(text.slice(0, max + 1)).replace(/[\n\t]/g, ' '), max);
}
