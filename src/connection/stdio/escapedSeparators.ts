/**
 * JSON with escapes for the characters that some readers of lines take for the end of one, though a message ends with a newline alone:
 * Node's `readline` does from 24 on, Python's `splitlines` too. They stand only in strings, where an escape says the same.
 */
export function escapedSeparators(json: string): string {
  // Most texts have none, and are looked through quickly for each.
  let text = json;
  if (text.includes('\u2028')) text = text.replace(/\u2028/g, '\\u2028');
  if (text.includes('\u2029')) text = text.replace(/\u2029/g, '\\u2029');
  if (text.includes('\u0085')) text = text.replace(/\u0085/g, '\\u0085');
  return text;
}
