import { messageOf } from '../show.js';
import { ownText } from '../text/ownText.js';
import { PoolkitError } from './PoolkitError.js';

/** The most of a message, or of another text of an error, that is kept. */
const MAX_KEPT_CHARS = 2_048;
/** An error names no more causes, one behind the other. */
const MAX_CAUSES = 8;

/** The beginning of a message, as it is kept once its call is over. */
export const keptText = (message: string): string => ownText(message, MAX_KEPT_CHARS);

/**
 * An error as it is kept once its call is over, as what failed last. A peer writes its message and its data, and each may be as large as
 * a message of the protocol: a table of a thousand of those would be gigabytes. One that is small is the error itself; of a large one, a
 * copy of the same class with the beginning of its texts, without its data and its stack. Its stack is written now: until it is, V8 keeps
 * what stood in its frames, a call with its params among them.
 */
export function keptError(error: unknown, causes = MAX_CAUSES): unknown {
  try {
    if (!(error instanceof Error)) return typeof error === 'string' ? keptText(error) : error;
    void error.stack;
    const cause = causes > 0 ? keptError(error.cause, causes - 1) : undefined;
    return cause === error.cause && isSmall(error) ? error : copyOf(error, cause);
  } catch {
    // It throws at each look.
    return errorLike(new Error(), messageOf(error), undefined, []);
  }
}

const isSmall = (error: Error): boolean =>
  !(error.message.length > MAX_KEPT_CHARS) &&
  (!(error instanceof AggregateError) || error.errors.every((each: unknown) => keptError(each, 0) === each)) &&
  (!(error instanceof PoolkitError) || Object.entries(error).every(([name, value]) => isSmallField(name, value)));

const isSmallField = (name: string, value: unknown): boolean =>
  typeof value === 'string' ? value.length <= MAX_KEPT_CHARS : name !== 'data' || value === undefined;

function copyOf(error: Error, cause: unknown): Error {
  const fields = new Map<string, unknown>();
  for (const [name, value] of Object.entries(error)) {
    if (isSmallField(name, value)) fields.set(name, value);
    else if (typeof value === 'string' && name !== 'dataText') fields.set(name, keptText(value));
  }
  return errorLike(error, keptText(messageOf(error)), cause, fields);
}

/** An error of the same class with other texts, without its stack. Of a class that is not ours, the name and the message alone: it may have private members, which no copy has. */
export function errorLike(
  error: Error,
  message: string,
  cause: unknown,
  fields: Iterable<readonly [string, unknown]>,
): Error {
  const copy = new Error(message, cause === undefined ? undefined : { cause });
  copy.name = error.name;
  copy.stack = `${error.name}: ${message}`;
  if (!(error instanceof PoolkitError)) return copy;
  for (const [name, value] of fields) if (name !== 'name') Object.assign(copy, { [name]: value });
  return Object.setPrototypeOf(copy, Object.getPrototypeOf(error)) as Error;
}
