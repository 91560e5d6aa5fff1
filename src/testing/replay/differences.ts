import { show } from '../../core/errors.js';
import { globMatches } from '../faults/rule/glob.js';

const MAX_LINES = 10;
const MAX_TEXT = 120;
/** Levels that are compared: a message may have as many as its sender likes. */
const MAX_DEPTH = 1_000;

/**
 * Where two values of JSON differ, one line a place: what was recorded, and what came. `ignore` are paths that may differ,
 * such as `result.content.*.text`.
 */
export function differences(recorded: unknown, got: unknown, ignore: readonly string[] = [], at = ''): string[] {
  const lines: string[] = [];
  let more = 0;
  for (const [place, says] of compare(recorded, got, ignore, at, 0)) {
    if (lines.length < MAX_LINES) lines.push(`${beginningOf(place)}: ${says()}`);
    else more++;
  }
  return more === 0 ? lines : [...lines, `and ${more} more places`];
}

type Difference = readonly [at: string, says: () => string];

function* compare(
  recorded: unknown,
  got: unknown,
  ignore: readonly string[],
  at: string,
  depth: number,
): Generator<Difference> {
  if (Object.is(recorded, got) || ignore.some((each) => globMatches(each, at))) return;
  if (isObject(recorded) && isObject(got) && Array.isArray(recorded) === Array.isArray(got)) {
    if (depth === MAX_DEPTH) {
      yield [at, () => `nested deeper than ${MAX_DEPTH} levels, which is not compared`];
      return;
    }
    for (const key of new Set([...Object.keys(recorded), ...Object.keys(got)])) {
      const path = at === '' ? key : `${at}.${key}`;
      yield* compare(own(recorded, key), own(got, key), ignore, path, depth + 1);
    }
    return;
  }
  yield [at === '' ? 'the value' : at, () => `recorded ${shown(recorded)}, got ${shown(got)}`];
}

/**
 * A text that two values share exactly where `differences` finds none between them: of very many values each is looked up among
 * the others. Undefined for one that is nested deeper than is compared.
 */
export function comparable(value: unknown, ignore: readonly string[], at: string, depth = 0): string | undefined {
  if (ignore.some((each) => globMatches(each, at))) return '';
  if (!isObject(value)) return Object.is(value, -0) ? '-0' : jsonOf(value);
  if (depth === MAX_DEPTH) return undefined;
  let text = Array.isArray(value) ? '[' : '{';
  for (const key of Object.keys(value).sort()) {
    const part = comparable(own(value, key), ignore, at === '' ? key : `${at}.${key}`, depth + 1);
    if (part === undefined) return undefined;
    // What may differ may also be missing.
    if (part !== '') text += `${JSON.stringify(key)}:${part},`;
  }
  return `${text}${Array.isArray(value) ? ']' : '}'}`;
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

const own = (value: object, key: string): unknown =>
  Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;

/** A value as a line shows it. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  return beginningOf(jsonOf(value));
}

const beginningOf = (text: string): string => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 3)}...` : text);

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return `${show(value)}, nested too deep to be shown`;
  }
}
