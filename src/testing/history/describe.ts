import type { HistoryEvent, InvokeEvent } from './HistoryEvent.js';

/** A call as a sentence names it. */
export function nameOf({ call, method, tool, server, principal, session }: InvokeEvent): string {
  const owner = ownerOf({ principal, session });
  return `call ${call} (${method}${tool === undefined ? '' : ` ${tool}`} on ${server}${owner === '' ? '' : `, ${owner}`})`;
}

/** A principal and a session as a sentence names them; empty when there is neither. */
export function ownerOf(owner: {
  readonly principal?: string | undefined;
  readonly session?: string | undefined;
}): string {
  const parts = [
    owner.principal === undefined ? '' : `principal ${owner.principal}`,
    owner.session === undefined ? '' : `session ${owner.session}`,
  ];
  return parts.filter((part) => part !== '').join(', ');
}

const MAX_LINE = 150;

/** One event on one line, its time counted from `fromMs`. */
export function lineOf(event: HistoryEvent, fromMs: number): string {
  const { type, atMs, ...fields } = event;
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => (name === 'call' ? String(value) : `${name}=${plain(value)}`))
    .join(' ');
  const afterMs = atMs - fromMs;
  const line = `${afterMs < 0 ? '-' : '+'}${(Math.abs(afterMs) / 1_000).toFixed(3)} s  ${type.padEnd(12)} ${rest}`;
  return line.length > MAX_LINE ? `${line.slice(0, MAX_LINE - 3)}...` : line;
}

/** Without control characters: a history may come from anywhere. */
function plain(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[\x21-\x7e]+$/.test(text) ? text : JSON.stringify(text);
}
