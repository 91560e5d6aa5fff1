import { expect, test } from 'vitest';
import { Sends } from '../../../src/connection/net/replies/Sends.js';

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test('what waits to be sent goes out in turns of the event loop, so many at once', async () => {
  const waiting = Array.from({ length: 40 }, (_, i) => i);
  const sentIn: number[] = [];
  let turns = 0;
  let [sending, most] = [0, 0];
  const sends = new Sends(30, () => {
    if (waiting.shift() === undefined) return undefined;
    return async () => {
      sentIn.push(turns);
      most = Math.max(most, ++sending);
      // Of the 8 ms that all may have in a turn.
      for (const endMs = performance.now() + 1; performance.now() < endMs; );
      await turn();
      sending--;
    };
  });
  sends.next();
  expect(sentIn.length).toBeLessThan(20);
  while (sentIn.length < 40) {
    await turn();
    turns++;
  }
  expect(waiting).toEqual([]);
  expect(most).toBeLessThanOrEqual(30);
  const inOne = Math.max(...sentIn.map((each) => sentIn.filter((other) => other === each).length));
  expect(inOne).toBeLessThan(20);
});

test('what is not to be sent any more takes no place', () => {
  const waiting = [undefined, undefined, 'sent'];
  const sent: string[] = [];
  const sends = new Sends(1, () => {
    if (waiting.length === 0) return undefined;
    const what = waiting.shift();
    return () => {
      if (what === undefined) return undefined;
      sent.push(what);
      return new Promise<void>(() => undefined);
    };
  });
  sends.next();
  expect(sent).toEqual(['sent']);
});
