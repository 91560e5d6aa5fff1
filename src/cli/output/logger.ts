import { pino } from 'pino';
import type { Logger } from '../../core/logger.js';
import { NonBlockingOutput } from './NonBlockingOutput.js';
import { visible } from './visible.js';

/** Log lines go to stderr, so that stdout is the program's own. Written at once, and never waited for. */
export function createLogger(level: string): Logger {
  const options = { level, base: null, serializers: { error: pino.stdSerializers.err } };
  const output = new NonBlockingOutput(2);
  return pino(options, { write: (line: string) => output.write(visible(line)) });
}
