import { expect, test } from 'vitest';
import { madeTask } from '../../../src/connection/protocol/madeTask.js';

test('the task that an answer makes is found where the answer is of the size of one', () => {
  const answer = (more: string): Buffer => Buffer.from(`{"content":[${more}],"task":{"taskId":"t"}}`);
  expect(madeTask(answer('1'))).toBe('t');
  expect(madeTask(answer(`"${'x'.repeat(200_000)}"`))).toBe('t');
  // Read as values in one turn, it would hold up all others.
  expect(madeTask(answer(`${'{},'.repeat(100_000)}{}`))).toBeUndefined();
  expect(madeTask(Buffer.from('{"task":7}'))).toBeUndefined();
});
