import { utf8Text } from '../../core/text/utf8Text.js';
import { costsMore, MAX_ANSWER_COST, MAX_READ_BYTES } from '../channel/codec/parsingCost.js';
import { objectOf } from './objectOf.js';

/**
 * The id of the task that was made of a call, as its answer says; undefined where it says none, and for one that is too large or too
 * costly to be read: no answer that makes a task is. Bytes are parsed whole, as clients do it, so that all who ask are told the same.
 */
export function madeTask(result: unknown): string | undefined {
  const { task } = objectOf(result instanceof Uint8Array ? parsed(result) : result);
  const { taskId } = objectOf(task);
  return typeof taskId === 'string' ? taskId : undefined;
}

function parsed(result: Uint8Array): unknown {
  if (result.length > MAX_READ_BYTES) return undefined;
  const text = utf8Text(Buffer.from(result));
  return costsMore(text, MAX_ANSWER_COST) ? undefined : JSON.parse(text);
}
