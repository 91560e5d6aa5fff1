import { expect, test } from 'vitest';
import { inTurn } from '../../../src/core/time/turns.js';

function spin(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

test('long steps that many cause at once have a turn of the event loop each', async () => {
  let turn = 0;
  let over = false;
  const count = (): void => {
    turn++;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  const step = (): number => {
    // More than the share that all have in a turn.
    spin(25);
    return turn;
  };
  const turns = await Promise.all([inTurn(step), inTurn(step), inTurn(step)]);
  over = true;
  expect(new Set(turns).size).toBe(3);
});

test('what a step throws is what it rejects with, and the next one has its turn', async () => {
  const broken = inTurn(() => {
    throw new TypeError('broken');
  });
  const next = inTurn(() => 1);
  await expect(broken).rejects.toThrow('broken');
  expect(await next).toBe(1);
});
