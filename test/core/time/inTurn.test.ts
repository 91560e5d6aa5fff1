import { expect, test } from 'vitest';
import { inTurn } from '../../../src/core/time/turns.js';
import { countTurns } from '../../support/countTurns.js';

function spin(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

test('long steps that many cause at once have a turn of the event loop each', async () => {
  using turns = countTurns();
  const step = (): number => {
    // More than the share that all have in a turn.
    spin(25);
    return turns.count;
  };
  const taken = await Promise.all([inTurn(step), inTurn(step), inTurn(step)]);
  expect(new Set(taken).size).toBe(3);
});

test('what a step throws is what it rejects with, and the next one has its turn', async () => {
  const broken = inTurn(() => {
    throw new TypeError('broken');
  });
  const next = inTurn(() => 1);
  await expect(broken).rejects.toThrow('broken');
  expect(await next).toBe(1);
});
