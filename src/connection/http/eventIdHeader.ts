/** A header is some KiB: one of more would be refused with its request. */
const MAX_CHARS = 4_096;

/** An event's id as the value of `last-event-id`: its UTF-8 bytes; undefined when it holds what no header may, or too much. A copy, which keeps nothing of the event. */
export function eventIdHeader(id: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it looks for.
  if (id.length > MAX_CHARS || /[\u0000-\u0008\u000a-\u001f\u007f]/.test(id)) return undefined;
  return Buffer.from(id, 'utf8').toString('latin1');
}
