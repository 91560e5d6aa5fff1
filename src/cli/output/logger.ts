import { pino } from 'pino';
import type { Logger } from '../../core/logger.js';
import { NonBlockingOutput } from './NonBlockingOutput.js';

/** Log lines go to stderr, so that stdout is the program's own. Written at once, and never waited for. */
export function createLogger(level: string): Logger {
  const options = { level, base: null, serializers: { error: pino.stdSerializers.err } };
  return pino(options, new NonBlockingOutput(2));
}
