import { keyOf, skipString } from '../../../connection/channel/codec/members.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Where a value stands: keys and indices from the outside in. It changes once the call is over. */
export type JsonPath = readonly (string | number)[];

/**
 * JSON text with other strings in some places, everything else byte for byte as it was. `change` is asked for each string
 * that stands under one of `keys`; undefined leaves it.
 */
export function rewriteStrings(
  text: string,
  keys: ReadonlySet<string>,
  change: (path: JsonPath, value: string) => string | undefined,
): string {
  const path: (string | number)[] = [];
  let atKey = false;
  let written = '';
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    const top = path.length - 1;
    switch (text.charCodeAt(at)) {
      case OPEN_BRACE:
        path.push('');
        atKey = true;
        break;
      case OPEN_BRACKET:
        path.push(0);
        atKey = false;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        path.pop();
        atKey = false;
        break;
      case COMMA:
        if (typeof path[top] === 'number') path[top]++;
        else atKey = true;
        break;
      case QUOTE: {
        const end = skipString(text, at);
        if (atKey) {
          path[top] = keyOf(text, at, end);
          atKey = false;
        } else if (keys.has(path[top] as string)) {
          const changed = change(path, JSON.parse(text.slice(at, end)) as string);
          if (changed !== undefined) {
            written += text.slice(from, at) + JSON.stringify(changed);
            from = end;
          }
        }
        at = end - 1;
      }
    }
  }
  return from === 0 ? text : written + text.slice(from);
}
