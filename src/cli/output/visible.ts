/** Control characters but for line feed and tab, and what turns the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it looks for.
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/**
 * Text that cannot steer a terminal, whatever its source: what would is spelled out, as `\u001b`. In JSON it stays the same JSON.
 */
export const visible = (text: string): string =>
  text.replace(INVISIBLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
