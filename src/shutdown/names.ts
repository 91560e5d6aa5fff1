import type { IncomingMessage } from 'node:http';

/** How many names an error spells out. */
const SHOWN = 5;

/** A few names, and how many more there are. */
export function nameSome(names: readonly string[]): string {
  const more = names.length > SHOWN ? `, and ${names.length - SHOWN} more` : '';
  return `${names.slice(0, SHOWN).join(', ')}${more}`;
}

/** A request as logs and errors call it: without its query, which may hold secrets. */
export function requestName({ method, url }: IncomingMessage): string {
  return `${method} ${url?.split('?', 1)[0]}`;
}
