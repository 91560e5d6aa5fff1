import { visible } from './visible.js';

/** What is left of a text that is longer: its beginning, and its end, where reasons stand. */
const MAX_BEGINNING = 3_000;
const MAX_END = 1_000;

/** What is wrong, on stderr. */
export function complain(text: string): void {
  process.stderr.write(`mcp-poolkit: ${told(text)}\n`);
}

/** Text that may hold what a user or a peer wrote: bounded, it steers no terminal, and no part of it passes for a line of its own. */
export function told(text: string): string {
  const short =
    text.length > MAX_BEGINNING + MAX_END ? `${text.slice(0, MAX_BEGINNING)} … ${text.slice(-MAX_END)}` : text;
  return visible(short).replaceAll('\n', '\n  ');
}

/** How the arguments that commander refuses are told. */
export const OUTPUT = {
  outputError: (text: string, write: (text: string) => void): void => write(`${told(text.trimEnd())}\n`),
};
