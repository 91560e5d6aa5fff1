import { expect, test } from 'vitest';
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
