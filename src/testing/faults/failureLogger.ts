import { type LogFn, type Logger, silentLogger } from '../../core/logger.js';

/** For a process of its own: what would be logged as an error goes to `told`. */
export function failureLogger(told: (error: unknown, what: string) => void): Logger {
  const error: LogFn = (fields: object | string, what?: string) => {
    told((fields as { readonly error?: unknown }).error ?? fields, what ?? 'it failed');
  };
  return { ...silentLogger, error };
}
