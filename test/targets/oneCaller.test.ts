import { expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { failure, reply } from '../support/rawCalls.js';
import { type Exchange, RawServer } from '../support/rawServer.js';
import { idempotent, pool, several, upstream, who } from '../support/upstreams.js';

const ejected = (of: ReturnType<typeof pool>): unknown => of.stats('app').targets?.map((each) => each.ejected);
const twice = (run: (name: string) => ReturnType<typeof upstream>) => Promise.all([run('a'), run('b')]);

test('the short deadlines of one caller eject no target', async () => {
  const all = await twice((name) => upstream(name));
  const of = pool();
  of.addServer(
    several(
      all.map(({ url }) => ({ url })),
      { balance: 'round-robin' },
    ),
  );
  // Both are up.
  expect([await who(of), await who(of)].sort()).toEqual(['a', 'b']);
  const short = (): Promise<unknown> => of.callTool('app', 'slow', {}, { deadlineMs: 100 });
  const ends = await Promise.allSettled(Array.from({ length: 12 }, short));
  expect(ends.map((end) => end.status === 'rejected' && end.reason.code)).toEqual(
    Array(12).fill('ERR_REQUEST_TIMEOUT'),
  );
  expect(ejected(of)).toEqual([false, false]);
});

test('a caller whose credentials fail ejects no target from the others', async () => {
  const all = await twice((name) => upstream(name));
  const of = pool({
    credentials: async ({ caller }) => {
      if (caller?.principal === 'mallory') throw new Error('no token');
      return {};
    },
  });
  of.addServer(
    several(
      all.map(({ url }) => ({ url })),
      { balance: 'round-robin' },
    ),
  );
  expect(await who(of, { caller: { principal: 'alice' } })).toBe('a');
  const codes = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const call = who(of, { caller: { principal: 'mallory' } });
    await call.catch(({ code }: { code: string }) => codes.add(code));
  }
  expect([...codes]).toEqual(['ERR_START_FAILED', 'ERR_BACKING_OFF']);
  expect(ejected(of)).toEqual([false, false]);
});

test('a hedge has what is left of its call’s deadline', async () => {
  const all = await twice((name) => upstream(name));
  const clock = new FakeClock();
  const of = pool({ clock });
  of.addServer(
    several(
      all.map(({ url }) => ({ url })),
      { hedge: { after: 300 } },
    ),
  );
  await of.startServer('app');
  const call = of.callTool('app', 'slow', {}, { ...idempotent, deadlineMs: 600 });
  const failed = expect(call).rejects.toMatchObject({ code: 'ERR_REQUEST_TIMEOUT' });
  const ran = (): number => all.reduce((sum, each) => sum + each.ran('slow'), 0);
  await expect.poll(ran).toBe(1);
  await clock.advance(301);
  await expect.poll(ran).toBe(2);
  await clock.advance(400);
  await failed;
});

test('a task’s id that two targets gave leads to neither: whose task is meant cannot be known', async () => {
  const counting = (name: string): Promise<RawServer> => {
    let tasks = 0;
    return RawServer.listen({
      before: ({ message, json }) => {
        const own =
          message?.method === 'tools/call' ? { task: { taskId: `${++tasks}`, status: 'working' } } : undefined;
        const read = message?.method === 'tasks/result' ? { content: [{ type: 'text', text: name }] } : undefined;
        const result = own ?? read;
        if (result === undefined) return false;
        json({ jsonrpc: '2.0', id: message.id, result });
        return true;
      },
    });
  };
  const [a, b] = (await Promise.all([counting('a'), counting('b')])).map((each) => closeAfter(each));
  const of = pool();
  of.addServer(several([{ url: a?.url ?? '' }, { url: b?.url ?? '' }], { balance: 'round-robin' }));
  await of.startServer('app');
  const begin = (): Promise<unknown> => of.request('app', 'tools/call', { name: 'run', task: {} });
  const read = (taskId: string): Promise<unknown> => of.request('app', 'tasks/result', { taskId });
  await begin();
  expect(await read('1')).toMatchObject({ content: [{ text: 'a' }] });
  await begin();
  await expect(read('1')).rejects.toMatchObject({ code: 'ERR_PROTOCOL', message: /same task id/ });
});

test('a client is asked by one target alone: what a canary or a hedge answers that asked it too is not taken', async () => {
  const asking = { tools: { who: { asks: 'sampling/createMessage' } } };
  const [main, other] = await Promise.all([upstream('main', asking), upstream('other', asking)]);
  const caller = { capabilities: { sampling: {} } };
  for (const settings of [
    { canary: { to: { url: other.url }, ratio: 1 } },
    { targets: [{ url: main.url }, { url: other.url }], balance: 'failover', hedge: { after: 0 } },
  ] as const) {
    const of = pool();
    of.addServer({ ...several([{ url: main.url }]), era: 'legacy', ...settings });
    // Long enough for a hedge that is refused to have answered.
    const onRequest = async (): Promise<object> => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return { asked: 'the client' };
    };
    expect(await who(of, { ...idempotent, caller, onRequest })).toContain('the client');
  }
  expect(other.ran('who')).toBe(2);
});

test.each([
  ['call', { acquireTimeoutMs: 900 }, 'ERR_ACQUIRE_TIMEOUT'],
  ['lease', { acquireTimeoutMs: 900 }, 'ERR_ACQUIRE_TIMEOUT'],
  // Without a time of its own: as long as two starts.
  ['call', {}, 'ERR_START_FAILED'],
  ['lease', {}, 'ERR_START_FAILED'],
  ['subscription', {}, 'ERR_START_FAILED'],
])('a %s (%o) waits for a target as long as it may in all, not as long for each', async (what, bound, code) => {
  const silent = await Promise.all(Array.from({ length: 4 }, () => RawServer.listen({ before: () => true })));
  const clock = new FakeClock();
  const of = pool({ clock, startTimeoutMs: 600 });
  const targets = silent.map((each) => ({ url: closeAfter(each).url, transport: 'http' as const }));
  of.addServer(several(targets, { balance: 'failover', era: 'legacy' }));
  const listen = { onNotification: () => undefined };
  const asked: Promise<unknown> =
    what === 'call'
      ? who(of, bound)
      : what === 'lease'
        ? of.lease('app', bound)
        : of.subscribe('app', { toolsListChanged: true }, listen);
  const failed = asked.catch(({ code }: { code: string }) => code);
  const begun = (): number => silent.filter(({ seen }) => seen.length > 0).length;
  for (const count of [1, 2]) {
    await expect.poll(begun).toBe(count);
    await clock.advance(600);
  }
  expect(await failed).toBe(code);
  expect(begun()).toBe(2);
});

test('a caller whose calls all targets refuse leaves retries for others', async () => {
  const limited = (name: string) => ({
    who: name === 'a' ? reply(429) : ({ answer }: Exchange) => answer(name),
    other: reply(429),
  });
  const [a, b] = await Promise.all(['a', 'b'].map((name) => RawServer.listen({ tools: limited(name) })));
  const of = pool();
  const targets = [a, b].map((each) => ({ url: closeAfter(each as RawServer).url, transport: 'http' as const }));
  of.addServer(several(targets, { balance: 'failover', era: 'legacy' }));
  const by = (principal: string) => ({ caller: { principal } });
  for (let i = 0; i < 30; i++) await failure(of.request('app', 'tools/call', { name: 'other' }, by('eve')));
  expect(await who(of, by('alice'))).toBe('b');
});

test('what the connection of one caller speaks is not told of another, who has none yet', async () => {
  const [a, b] = await Promise.all([upstream('a'), upstream('b')]);
  const of = pool();
  of.addServer(several([{ url: a.url }, { url: b.url }]));
  const legacy = { era: 'legacy' } as const;
  await who(of, { caller: legacy });
  expect([of.info('app', legacy)?.era, of.info('app', {}), of.info('app', { key: 'k' })]).toEqual([
    'legacy',
    undefined,
    undefined,
  ]);
  await who(of, { caller: {} });
  expect(of.info('app', {})?.era).toBe('modern');
});
