import type { Clock } from './clock.js';
import { isPromise } from './errors/thrown.js';
import { OptionError } from './errors.js';
import { guardedLogger, LOG_LEVELS, type Logger } from './logger.js';
import { nearNames } from './nearNames.js';

/** Checks that throw `OptionError` naming option, value and range, and hand the value back. Nothing is ever clamped. */

export interface Range {
  readonly min?: number;
  readonly max?: number;
  /** Whether `Infinity` may stand for "no limit". */
  readonly infinity?: boolean;
}

function range(what: string, { min = 0, max = Number.MAX_SAFE_INTEGER, infinity = false }: Range): string {
  const upper = max === Number.MAX_SAFE_INTEGER ? `${what}, ${min} or more` : `${what} from ${min} to ${max}`;
  return infinity ? `${upper}, or Infinity` : upper;
}

function within(value: unknown, { min = 0, max = Number.MAX_SAFE_INTEGER, infinity = false }: Range): value is number {
  return (
    typeof value === 'number' && ((infinity && value === Number.POSITIVE_INFINITY) || (value >= min && value <= max))
  );
}

/** A whole number. */
export function checkCount(option: string, value: unknown, bounds: Range = {}): number {
  if (within(value, bounds) && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY)) return value;
  throw new OptionError(option, value, range('a whole number', bounds));
}

/** A duration in milliseconds; fractions are fine. */
export function checkMs(option: string, value: unknown, bounds: Range = {}): number {
  if (within(value, bounds)) return value;
  throw new OptionError(option, value, range('milliseconds', bounds));
}

/** A size in bytes. */
export function checkBytes(option: string, value: unknown, bounds: Range = {}): number {
  if (within(value, bounds) && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY)) return value;
  throw new OptionError(option, value, range('a whole number of bytes', bounds));
}

/** A share between 0 and 1, both included. */
export function checkRatio(option: string, value: unknown): number {
  if (within(value, { max: 1 })) return value;
  throw new OptionError(option, value, 'a ratio from 0 to 1');
}

export function checkBoolean(option: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new OptionError(option, value, 'true or false');
}

export function checkString(option: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new OptionError(option, value, 'a string');
}

/** A string that is not empty. */
export function checkText(option: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new OptionError(option, value, 'a string that is not empty');
}

export function checkOneOf<const T extends string>(option: string, value: unknown, allowed: readonly T[]): T {
  if (allowed.includes(value as T)) return value as T;
  throw new OptionError(option, value, `one of ${allowed.map((each) => `'${each}'`).join(', ')}`);
}

/** An object of named values, such as limits by server: a `Map` has none. @throws OptionError */
export function checkRecord<O extends object>(option: string, value: O): O {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const kind = Object.prototype.toString.call(value).slice('[object '.length, -1);
    if (kind === 'Object' && !(value instanceof Map)) return value;
  }
  throw new OptionError(option, value, 'an object of named values');
}

/**
 * What a user's function gave that has to decide at once. An async one decides nothing: its promise would count as true, and
 * its rejection would be unhandled. @throws OptionError
 */
export function checkAtOnce<T>(hook: string, value: T): T {
  if (!isPromise(value, () => undefined)) return value;
  throw new OptionError(hook, value, 'a function that answers at once, not by a promise');
}

export function checkFunction<F>(option: string, value: F): F {
  if (typeof value === 'function') return value;
  throw new OptionError(option, value, 'a function');
}

/** A logger, guarded. One that has some of pino's methods alone logs by these. @throws OptionError for one that has none */
export function checkLogger(option: string, value: Logger): Logger {
  const known = typeof value === 'function' || (typeof value === 'object' && value !== null);
  const methods = known ? LOG_LEVELS.map((level) => value[level] as unknown).filter((each) => each !== undefined) : [];
  if (methods.length > 0 && methods.every((each) => typeof each === 'function')) return guardedLogger(value);
  throw new OptionError(option, value, 'a logger: trace(), debug(), info(), warn() and error()');
}

/** @throws OptionError */
export function checkClock(option: string, value: Clock): Clock {
  return checkPart(option, value, ['now', 'setTimer'], 'a clock: now(), wallNow() and setTimer()');
}

/** @throws OptionError */
export function checkSignal(option: string, value: AbortSignal): AbortSignal {
  return checkPart(option, value, ['addEventListener', 'throwIfAborted'], 'an AbortSignal');
}

/** Whether a call may begin by its signal. @throws OptionError for what is none, and the reason of one that has aborted */
export function assertLive(signal: AbortSignal | undefined): void {
  if (signal !== undefined) checkSignal('signal', signal).throwIfAborted();
}

/** A list of options. @throws OptionError */
export function checkArray<T>(option: string, value: readonly T[], of = 'an array'): readonly T[] {
  if (Array.isArray(value)) return value;
  throw new OptionError(option, value, of);
}

/** A part that is called by these methods. `expected` says what it is. */
export function checkPart<T extends object>(
  option: string,
  value: T,
  methods: readonly (keyof T)[],
  expected: string,
): T {
  if (typeof value === 'object' && value !== null && methods.every((name) => typeof value[name] === 'function')) {
    return value;
  }
  throw new OptionError(option, value, expected);
}

/** `undefined` counts as absent. */
export function checkGiven<T>(value: T | undefined, check: (value: T) => T): T | undefined {
  return value === undefined ? undefined : check(value);
}

/** An object of options, whatever stands in it. @throws OptionError */
export function checkOptions<O extends object>(part: string, options: O, expected = 'an object of options'): O {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return options;
  throw new OptionError(part, options, expected);
}

/** Several of something, to go through. @throws OptionError */
export function checkIterable<T>(option: string, value: Iterable<T>, expected: string): Iterable<T> {
  if (typeof value === 'object' && value !== null && typeof value[Symbol.iterator] === 'function') return value;
  throw new OptionError(option, value, expected);
}

/** The keys of `O` that have no default in `D`. */
type Rest<O, D> = Exclude<keyof O, keyof D>;

/** `O` with the defaults of `D` filled in. */
export type Resolved<O, D> = { readonly [K in keyof O & keyof D]-?: Exclude<O[K], undefined> } & Readonly<
  Pick<O, Rest<O, D>>
>;

/** Whether an option is a function: by its default, or by its name (`onEvent`), as what a user is told by. */
function isHook(name: string, defaults: object): boolean {
  if (!Object.hasOwn(defaults, name)) return /^on[A-Z]/.test(name);
  return typeof (defaults as Readonly<Record<string, unknown>>)[name] === 'function';
}

/**
 * `options` over `defaults`; one that is undefined counts as absent. `others` names the options without a default, all of
 * them, so that the compiler keeps the list complete. What is of one kind wherever it comes is looked at here: `clock`, `logger`,
 * `signal`, `on…`, and what is a function by default. @throws OptionError for a name that is in neither, with the nearest.
 */
export function withDefaults<O extends object, const D extends Partial<Record<keyof O, unknown>>>(
  part: string,
  options: O,
  defaults: D,
  others: { readonly [K in Rest<O, D>]-?: true },
): Resolved<O, D> {
  checkOptions(part, options);
  const result: Record<string, unknown> = { ...defaults };
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(defaults, name) && !Object.hasOwn(others, name)) {
      throw unknownOption(part, name, value, [...Object.keys(defaults), ...Object.keys(others)]);
    }
    if (value === undefined) continue;
    if (name === 'logger') result[name] = checkLogger(name, value);
    else if (name === 'clock') result[name] = checkClock(name, value);
    else if (name === 'signal') result[name] = checkSignal(name, value);
    else if (isHook(name, defaults)) result[name] = checkFunction(name, value);
    else result[name] = value;
  }
  return result as Resolved<O, D>;
}

/** The names of the options `O`; the compiler keeps the list complete. */
export type Names<O> = { readonly [K in keyof O]-?: true };

/** For options that come with each call: a look at their names, and at a signal. @throws OptionError for one that is not in `names` */
export function checkNames(part: string, options: object, names: Readonly<Record<string, true>>): void {
  if (typeof options !== 'object' || options === null) checkOptions(part, options);
  for (const name in options) {
    const value = (options as Readonly<Record<string, unknown>>)[name];
    if (names[name] === true) {
      if (name === 'signal' && value !== undefined) checkSignal(name, value as AbortSignal);
      continue;
    }
    // A text or an object may hold a secret.
    const shown = typeof value === 'number' || typeof value === 'boolean' ? value : typeof value;
    throw unknownOption(part, name, shown, Object.keys(names));
  }
}

/** The error for an option that does not exist, naming the nearest one that does. */
export function unknownOption(part: string, name: string, value: unknown, known: readonly string[]): OptionError {
  const near = nearNames(name, known);
  const hint = near.length > 0 ? `did you mean ${near.map((each) => `'${each}'`).join(' or ')}?` : known.join(', ');
  return new OptionError(`${part}.${name}`, value, `an option that exists; ${hint}`);
}
