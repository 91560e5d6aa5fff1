import { expect, test } from 'vitest';
import { Stickiness } from '../../src/targets/Stickiness.js';
import type { RoutedServer, Target } from '../../src/targets/Target.js';
import { collectGarbage } from '../support/collectGarbage.js';

test('what targets give as cursors, tasks and states leads back to them, and is not kept itself', () => {
  const sticky = new Stickiness<RoutedServer>();
  const target = { id: 'a' } as Target<RoutedServer>;
  const token = (kind: string, i: number): string => `${kind}${i}${'x'.repeat(100_000)}`;
  const before = collectGarbage();
  for (let i = 0; i < 300; i++) {
    sticky.answered('tools/list', {}, { principal: 'ann' }, { nextCursor: token('cursor', i) }, target);
    sticky.answered('tools/call', {}, { principal: 'ann' }, { task: { taskId: token('task', i) } }, target);
    sticky.answered('tools/call', {}, { principal: 'ann' }, { requestState: token('state', i) }, target);
  }
  // All together they are 90 MB.
  expect(collectGarbage() - before).toBeLessThan(10e6);
  expect(sticky.targetOf({ cursor: token('cursor', 7) }, { principal: 'ann' })).toBe(target);
  expect(sticky.targetOf({ taskId: token('task', 7) }, { principal: 'ann' })).toBe(target);
  expect(sticky.targetOf({ requestState: token('state', 7) }, { principal: 'ann' })).toBe(target);
  expect(sticky.targetOf({ cursor: token('cursor', 7) }, { principal: 'bob' })).toBeUndefined();
  expect(sticky.targetOf({ cursor: token('cursor', 300) }, { principal: 'ann' })).toBeUndefined();
});
