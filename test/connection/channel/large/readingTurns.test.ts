import { expect, test } from 'vitest';
import { inReadingTurn } from '../../../../src/connection/channel/large/readingTurns.js';

test('of long answers two are read at once, servers in turns; what waits is bounded, and one server leaves room for others', async () => {
  const long = Buffer.alloc(20 * 1_024 * 1_024);
  const done: (() => void)[] = [];
  const begun: string[] = [];
  const read = (server: string, answer: unknown): Promise<string> =>
    inReadingTurn(server, undefined, answer, async () => {
      begun.push(server);
      await new Promise<void>((resolve) => done.push(resolve));
      return server;
    });
  const all = Array.from({ length: 9 }, () => read('flood', long));
  await expect(read('flood', long)).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
  all.push(read('other', long));
  expect(begun).toEqual(['flood', 'flood']);
  // Short ones, and values, wait for nothing.
  const short = [read('flood', Buffer.alloc(1_024)), read('flood', {})];
  expect(begun).toHaveLength(4);
  for (let at = 0; at < 12; at++) {
    await expect.poll(() => done.length).toBeGreaterThan(at);
    done[at]?.();
  }
  expect(await Promise.all([...all, ...short])).toHaveLength(12);
  expect(begun.indexOf('other')).toBeLessThan(7);
});

test('the callers of a server take turns: one that asks often holds up the others by one answer each time', async () => {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const read = (principal: string): Promise<void> =>
    inReadingTurn('s', { principal }, Buffer.alloc(100_000), async () => {
      begun.push(principal);
      await new Promise<void>((resolve) => ends.push(resolve));
    });
  const all = ['ann', 'ann', 'ann', 'ann', 'ben'].map(read);
  for (let at = 0; at < all.length; at++) {
    await expect.poll(() => ends.length).toBeGreaterThan(at);
    ends[at]?.();
  }
  await Promise.all(all);
  expect(begun).toEqual(['ann', 'ann', 'ann', 'ben', 'ann']);
});
