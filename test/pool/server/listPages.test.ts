import { expect, test } from 'vitest';
import { listAll } from '../../../src/pool/listAll.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { MEMORY, memoryPool } from '../../support/memoryPool.js';
import { failure } from '../../support/rawCalls.js';

test('a cursor that is a number goes back as one, and a further page that is refused leaves those before it', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  const asked: unknown[] = [];
  connector.onMessage = ({ id, params }, connection) => {
    if (id === undefined) return;
    const cursor = params?.['cursor'];
    asked.push(cursor);
    if (cursor === 'more') connection.say({ id, error: { code: -32602, message: 'bad cursor' } });
    else if (cursor === 5) connection.answer(id, { tools: [{ name: 'b' }], nextCursor: 'more' });
    else connection.answer(id, { tools: [{ name: 'a' }], nextCursor: 5 });
  };
  // It is asked for again soon: there is more of it.
  expect(await pool.listAll('s', 'tools')).toMatchObject({
    items: [{ name: 'a' }, { name: 'b' }],
    pages: 2,
    ttlMs: 60_000,
  });
  expect(asked).toEqual([undefined, 5, 'more']);
  for (const nextCursor of [0, false, null, {}]) {
    connector.onMessage = ({ id }, connection) => {
      if (id !== undefined) connection.answer(id, { tools: [{ name: 'a' }], nextCursor });
    };
    expect(await pool.listAll('s', 'tools')).toMatchObject({ pages: 1, ttlMs: undefined });
  }
  connector.onMessage = ({ id }, connection) => {
    if (id !== undefined) connection.say({ id, error: { code: -32602, message: 'no' } });
  };
  expect(await failure(pool.listAll('s', 'tools'))).toMatchObject({ code: 'ERR_RPC' });
});

test('an item that is nested too deeply to be written is left out of its list by itself, also where a page has nothing else', async () => {
  const deep = `{"name":"deep","x":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
  const pages = [`[${deep},{"name":"a"}]`, `[${deep}]`, `[${deep}]`, `[{"name":"b"}]`];
  const request = async (_: string, { cursor = 0 }: { readonly cursor?: unknown }) => {
    const next = Number(cursor) + 1;
    return Buffer.from(`{"tools":${pages[next - 1]}${next < pages.length ? `,"nextCursor":"${next}"` : ''}}`);
  };
  const { items, pages: read } = await listAll({ server: 's', request, clock: new FakeClock() }, 'tools');
  expect([items, read]).toEqual([[{ name: 'a' }, { name: 'b' }], 4]);
});
