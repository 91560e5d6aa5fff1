import { expect, test } from 'vitest';
import { pool, several, upstream } from '../support/upstreams.js';

test.each([
  ['most of its targets', 2],
  ['the one of two that can do more', 1],
])('a server can do what %s say', async (_, others) => {
  const none = await upstream('none', { capabilities: {}, era: 'legacy' });
  const able = await Promise.all(Array.from({ length: others }, (_, at) => upstream(`able ${at}`, { era: 'legacy' })));
  for (const all of [
    [none, ...able],
    [...able, none],
  ]) {
    const of = pool();
    of.addServer(
      several(
        all.map(({ url }) => ({ url, transport: 'http' as const })),
        { era: 'legacy' },
      ),
    );
    await of.startServer('app');
    await expect.poll(() => of.stats('app').targets?.every(({ state }) => state === 'ready')).toBe(true);
    expect(of.info('app')?.capabilities).toHaveProperty('tools');
    expect(of.info('app')).toBe(of.info('app'));
  }
});
