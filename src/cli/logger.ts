import { pino } from 'pino';
import type { Logger } from '../core/logger.js';

/** Log lines go to stderr, so that stdout is the program's own. Written at once: an exit loses none. */
export function createLogger(level: string): Logger {
  const options = { level, base: null, serializers: { error: pino.stdSerializers.err } };
  return pino(options, pino.destination({ dest: 2, sync: true }));
}
