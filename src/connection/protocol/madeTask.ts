import { utf8Text } from '../../core/text/utf8Text.js';
import { objectOf } from './objectOf.js';

/** An answer that makes a task says whose it is, and little else. */
const MAX_BYTES = 256 * 1_024;

/**
 * The id of the task that was made of a call, as its answer says; undefined where it says none, and for one that is too large:
 * no answer that makes a task is. Bytes are parsed whole, as clients do it, so that all who ask are told the same.
 */
export function madeTask(result: unknown): string | undefined {
  const { task } = objectOf(result instanceof Uint8Array ? parsed(result) : result);
  const { taskId } = objectOf(task);
  return typeof taskId === 'string' ? taskId : undefined;
}

const parsed = (result: Uint8Array): unknown =>
  result.length > MAX_BYTES ? undefined : JSON.parse(utf8Text(Buffer.from(result)));
