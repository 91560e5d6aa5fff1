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
