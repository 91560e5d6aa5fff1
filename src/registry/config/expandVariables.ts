import { checkOptions, checkString } from '../../core/options.js';
/** Where variables are looked up. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** What another form of `${…}` stands for; undefined for one that is not known. */
export type References = (inner: string) => Expansion | undefined;

/** What one text became, or what was wrong with it. */
export type Expansion = { readonly text: string } | { readonly problem: string };

/** Characters that the references of one config file may become in all: as many as a file may hold. */
export const MAX_EXPANDED_CHARS = 8 * 1_024 * 1_024;

/** What is wrong with the reference that goes beyond it, and with all behind it. */
const TOO_LARGE = `its references, and those before it in the file, become more than ${MAX_EXPANDED_CHARS / 2 ** 20} Mi characters`;

/** What the references of one file may still become. */
export interface Room {
  chars: number;
}

const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const MAX_PROBLEM = 300;
/** Problems of one text that are named. */
const MAX_NAMED = 10;
const KNOWN = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;

/**
 * `${NAME}` becomes the variable's value, `${NAME:-text}` too, or `text` while the variable is unset or empty (as in a
 * shell). `$${` stands for a literal `${`. Values are put in as they are: what they contain is not expanded again. A
 * variable that is not set and any other form of `${…}` is a problem, since a program handed the bare reference would
 * fail later and less clearly.
 */
export function expandVariables(text: string, variables: Variables): Expansion {
  return expandReferences(
    checkString('text', text),
    checkOptions('variables', variables, 'an object of variables'),
    () => undefined,
  );
}

/** The same, where `others` knows more forms, such as those of editors. What the references become is taken from `room`. */
export function expandReferences(
  text: string,
  variables: Variables,
  others: References,
  room: Room = { chars: MAX_EXPANDED_CHARS },
): Expansion {
  if (!text.includes('${')) return { text };
  const problems: string[] = [];
  const standsFor = (whole: string, inner: string | undefined, end: string | undefined): string => {
    if (inner === undefined) return '${';
    const other = end === '' ? undefined : others(inner);
    if (other !== undefined) {
      if ('text' in other) return other.text;
      problems.push(oneLine(other.problem, MAX_PROBLEM));
      return '';
    }
    const known = end === '' ? null : KNOWN.exec(inner);
    if (known === null) {
      problems.push(
        `${oneLine(whole)} is not understood: write \${NAME} or \${NAME:-default}, or $\${ for a plain \${`,
      );
      return '';
    }
    const [, name = '', fallback] = known;
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value;
    if (value === undefined) {
      const short = oneLine(name, MAX_PROBLEM);
      problems.push(`variable ${short} is not set (set it, or give it a default: \${${short}:-…})`);
      return '';
    }
    return value;
  };
  const expanded = text.replace(REFERENCE, (whole, inner?: string, end?: string) => {
    const value = room.chars < 0 ? '' : standsFor(whole, inner, end);
    room.chars -= value.length;
    return room.chars < 0 ? '' : value;
  });
  if (room.chars < 0) return { problem: TOO_LARGE };
  if (problems.length === 0) return { text: expanded };
  const more = problems.length - MAX_NAMED;
  return { problem: [...problems.slice(0, MAX_NAMED), ...(more > 0 ? [`and ${more} more`] : [])].join('; ') };
}

/** The text that `expandVariables` turns into `text`. */
export function escapeVariables(text: string): string {
  return checkString('text', text).replaceAll('${', '$$${');
}

function oneLine(text: string, max = 40): string {
  const short = text.length > max ? `${text.slice(0, max - 3)}...` : text;
  return short.replace(/\s+/g, ' ');
}
