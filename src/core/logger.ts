import { isPromise } from './errors/thrown.js';
import { messageOf } from './show.js';

/** One log line: fields first, then the message, as pino takes them. */
export interface LogFn {
  (fields: object, message?: string): void;
  (message: string): void;
}

/** What the toolkit asks of a logger: pino's shape, so that `pino()` fits as it is. */
export interface Logger {
  readonly trace: LogFn;
  readonly debug: LogFn;
  readonly info: LogFn;
  readonly warn: LogFn;
  readonly error: LogFn;
}

const silent: LogFn = () => undefined;

/** The default: says nothing. */
export const silentLogger: Logger = Object.freeze({
  trace: silent,
  debug: silent,
  info: silent,
  warn: silent,
  error: silent,
});

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;

/** By the logger as it was given, and each guarded one by itself. */
const guarded = new WeakMap<Logger, Logger>();

/**
 * The same logger for parts that log: what a method throws, or its promise rejects with, is told once by a process warning
 * and harms no call. Methods are looked up at each line, for some loggers replace them when their level changes.
 */
export function guardedLogger(logger: Logger): Logger {
  if (logger === silentLogger) return logger;
  const known = guarded.get(logger);
  if (known !== undefined) return known;
  let told = false;
  const fail = (error: unknown): void => {
    if (told) return;
    told = true;
    process.emitWarning(`a logger failed, its lines are lost: ${messageOf(error)}`);
  };
  const guard =
    (level: (typeof LOG_LEVELS)[number]): LogFn =>
    (...line: readonly unknown[]): void => {
      try {
        if (logger[level]) isPromise(Reflect.apply(logger[level], logger, line), fail);
      } catch (error) {
        fail(error);
      }
    };
  const own = Object.freeze(Object.fromEntries(LOG_LEVELS.map((level) => [level, guard(level)]))) as unknown as Logger;
  guarded.set(logger, own);
  guarded.set(own, own);
  return own;
}
