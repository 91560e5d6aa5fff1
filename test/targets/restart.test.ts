import { expect, test } from 'vitest';
import { many, pool, several, upstream, who } from '../support/upstreams.js';

test('a restart of which targets fail tells which, and why', async () => {
  const of = pool();
  const [a, b, c] = await Promise.all([upstream('a'), upstream('b'), upstream('c')]);
  of.addServer(several([a, b, c].map(({ url }) => ({ url, transport: 'http' as const }))));
  await many(3, () => who(of));
  for (const gone of [a, b]) await gone.close();
  const error = await of.restartServer('app').catch((each: unknown) => each);
  expect(error).toMatchObject({ code: 'ERR_START_FAILED', server: 'app', cause: { errors: [{}, {}] } });
  for (const gone of [a, b]) expect(String(error)).toContain(new URL(gone.url).host);
  expect(await who(of)).toBe('c');
  await c.close();
});
