import { expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { type Exchange, RawServer } from '../support/rawServer.js';
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

/** A target that leaves `initialize` unanswered until it is told to answer. */
async function slowStart(name: string) {
  const waiting: Exchange[] = [];
  let answers = false;
  const { url } = closeAfter(
    await RawServer.listen({
      before: (exchange) => {
        if (answers || exchange.message?.method !== 'initialize') return false;
        waiting.push(exchange);
        return true;
      },
      tools: { who: ({ answer }) => answer(name) },
    }),
  );
  const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name, version: '1' } };
  return {
    url,
    starts: () => waiting.length,
    answer: () => {
      answers = true;
      for (const { json, message } of waiting) json({ jsonrpc: '2.0', id: message.id, result });
    },
  };
}

function failover(targets: readonly { readonly url: string }[]) {
  const clock = new FakeClock();
  const of = pool({ clock });
  const config = targets.map(({ url }) => ({ url, transport: 'http' as const }));
  of.addServer(several(config, { balance: 'failover', era: 'legacy' }));
  return { of, clock, states: () => of.stats('app').targets?.map(({ state }) => state) };
}

test('a target that does not come up keeps no call from one that does, and takes over once it is up', async () => {
  const [slow, well] = await Promise.all([slowStart('slow'), upstream('well')]);
  const { of, clock, states } = failover([slow, well]);
  const first = who(of);
  await expect.poll(slow.starts).toBe(1);
  await clock.advance(1_100);
  expect(await first).toBe('well');
  // No time passes: none waits for it again.
  expect(await many(3, () => who(of))).toEqual({ well: 3 });
  expect(of.stats('app').targets?.map(({ picked }) => picked)).toEqual([0, 4]);
  expect(states()).toEqual(['starting', 'ready']);
  slow.answer();
  await expect.poll(states).toEqual(['ready', 'ready']);
  expect(await many(2, () => who(of))).toEqual({ slow: 2 });
});

test('a start that failed is made again beside the calls', async () => {
  const [slow, well] = await Promise.all([slowStart('slow'), upstream('well')]);
  const { of, clock, states } = failover([slow, well]);
  const first = who(of);
  await expect.poll(slow.starts).toBe(1);
  await clock.advance(1_100);
  await first;
  await clock.advance(29_500);
  await expect.poll(states).toEqual(['failed', 'ready']);
  await clock.advance(60_000);
  expect(await many(3, () => who(of))).toEqual({ well: 3 });
  await expect.poll(slow.starts).toBe(2);
  slow.answer();
  await expect.poll(states).toEqual(['ready', 'ready']);
  expect(await who(of)).toBe('slow');
});

test('where none is up, all are started one after another, and a call takes the first that is up', async () => {
  const all = await Promise.all([slowStart('a'), slowStart('b'), slowStart('c')]);
  const { of, clock, states } = failover(all);
  const first = who(of);
  for (const { starts } of all) {
    await expect.poll(starts).toBe(1);
    await clock.advance(1_100);
  }
  all[1]?.answer();
  await expect.poll(states).toEqual(['starting', 'ready', 'starting']);
  await clock.advance(1_100);
  expect(await first).toBe('b');
});

test('where none comes up, a call ends with its own time, or once all have had theirs', async () => {
  const all = await Promise.all([slowStart('a'), slowStart('b')]);
  const { of, clock } = failover(all);
  const ends: string[] = [];
  const call = (name: string, options: object): unknown =>
    who(of, options).catch(({ code }) => ends.push(`${name} ${code} ${Math.floor(clock.now() / 10_000)}`));
  call('short', { acquireTimeoutMs: 1_500 });
  call('whole', {});
  for (const { starts } of all) {
    await expect.poll(starts).toBe(1);
    await clock.advance(1_100);
  }
  const end = async (): Promise<number> => {
    await clock.advance(1_000);
    return ends.length;
  };
  await expect.poll(end, { interval: 1 }).toBe(2);
  const whole = expect.stringMatching(/whole ERR_(START_FAILED|ACQUIRE_TIMEOUT) [3-6]/);
  expect(ends).toEqual(['short ERR_ACQUIRE_TIMEOUT 0', whole]);
});
