import { expect, test } from 'vitest';
import { idempotent, many, pool, several, upstream, who } from '../support/upstreams.js';

const SLOW = { who: { text: 'slow', serviceMs: 60_000 } };
const FAILS = { seed: 1, rules: [{ method: 'tools/call', fault: 'status', status: 503 }] } as const;
const ERROR = { seed: 1, rules: [{ method: 'tools/call', fault: 'error', code: -32_000 }] } as const;

test('a mirror gets a copy of what may be repeated, its answers are compared, and no caller feels it', async () => {
  const [main, mirror] = await Promise.all([upstream('main'), upstream('mirror')]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { mirror: { to: { url: mirror.url }, ratio: 1 } }));
  expect(await many(3, () => who(of, idempotent))).toEqual({ main: 3 });
  expect(await who(of)).toBe('main');
  await of.request('app', 'ping');
  await expect
    .poll(() => of.stats('app').spread?.mirror)
    .toMatchObject({ sent: 4, different: 3, same: 1, failed: 0, skipped: 0 });
  expect(mirror.ran('who')).toBe(3);
  expect(of.stats('app').targets?.map(({ role }) => role)).toEqual(['target', 'mirror']);
});

test.each<[string, object]>([
  ['fails', { plan: FAILS }],
  ['hangs', { tools: SLOW }],
])('a mirror that %s costs a caller nothing, and a close does not wait for it', async (how, options) => {
  const [main, mirror] = await Promise.all([upstream('main'), upstream('mirror', options)]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { mirror: { to: { url: mirror.url }, ratio: 1, compare: false } }));
  expect(await many(3, () => who(of, idempotent))).toEqual({ main: 3 });
  await expect.poll(() => (how === 'fails' ? of.stats('app').spread?.mirror?.failed : mirror.ran('who'))).toBe(3);
  expect(of.stats('app').errors).toEqual({});
  await of.close({ graceMs: 0 });
});

test('a canary answers its share, and nothing that may not be repeated', async () => {
  const [main, canary] = await Promise.all([upstream('main'), upstream('canary')]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 1 } }));
  expect(await many(3, () => who(of, idempotent))).toEqual({ canary: 3 });
  expect(await who(of)).toBe('main');
  expect(of.stats('app').spread?.canary).toEqual({ asked: 3, answered: 3, replaced: 0 });
});

test.each<[string, object]>([
  ['fails', { plan: FAILS }],
  ['answers with an error of the protocol', { plan: ERROR }],
  ['answers with an error of the tool', { tools: { who: { text: 'no', isError: true } } }],
  ['hangs', { tools: SLOW }],
])('when a canary %s, the targets answer', async (_, options) => {
  const [main, canary] = await Promise.all([upstream('main'), upstream('canary', options)]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 1 } }));
  expect(await who(of, idempotent)).toBe('main');
  expect(of.stats('app')).toMatchObject({ errors: {}, spread: { canary: { asked: 1, answered: 0, replaced: 1 } } });
  // A canary that hangs is told that its call is over.
  await expect.poll(() => of.stats('app').inFlight).toBe(0);
});

test('a share is a share', async () => {
  const [main, canary] = await Promise.all([upstream('main'), upstream('canary')]);
  const of = pool();
  of.addServer(several([{ url: main.url }], { canary: { to: { url: canary.url }, ratio: 0.3 } }));
  const { main: ours = 0, canary: theirs = 0 } = await many(200, () => who(of, idempotent));
  expect(ours + theirs).toBe(200);
  // Six standard deviations around 60.
  expect(theirs).toBeGreaterThan(21);
  expect(theirs).toBeLessThan(99);
});
