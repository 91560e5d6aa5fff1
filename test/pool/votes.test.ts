import { expect, test } from 'vitest';
import type { McpPool } from '../../src/pool/McpPool.js';
import { SSEPool } from '../../src/pool/SSEPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { echoFor, rawPool, tool } from '../support/httpPool.js';
import { failure, reply } from '../support/rawCalls.js';
import type { Handler } from '../support/rawServer.js';
import { RawSse } from '../support/rawSse.js';

const callers = (...names: string[]) => names.map((name) => ({ caller: { principal: name } }));
const [eve = {}, mallory = {}, trudy = {}] = callers('eve', 'mallory', 'trudy');

const failing = async (pool: McpPool, times: number, options: object): Promise<void> => {
  for (let i = 0; i < times; i++) await failure(tool(pool, 'bad', {}, options));
};

const events: Handler = ({ sse, res }) => {
  sse();
  res.end();
};
const cut: Handler = ({ res }) => void res.destroy();

test.each<[string, Handler]>([
  ['500', reply(500, '{}')],
  ['502', reply(502)],
  ['503', reply(503)],
  ['504', reply(504)],
  ['a page', reply(200, '<h1>blocked</h1>', { 'content-type': 'text/html' })],
  ['an answer that is no JSON', reply(200, '{"result": NaN', { 'content-type': 'application/json' })],
  ['a cut connection', cut],
  ['a stream that ends', events],
])(
  'by %s, which a caller may bring about on a server that is well, one caller does not open the breaker, several do',
  async (_, bad) => {
    const { pool } = await rawPool({ tools: { bad } });
    await failing(pool, 12, eve);
    expect(await echoFor(pool, { principal: 'alice' })).toBe('hi');
    await failing(pool, 5, eve);
    await failing(pool, 4, mallory);
    expect(pool.stats('raw').breaker).toBe('closed');
    await failing(pool, 1, trudy);
    expect(pool.stats('raw').breaker).toBe('open');
  },
);

test('a server that does not answer a ping either is one that fails, whoever calls it', async () => {
  const before = ({ message, res }: Parameters<Handler>[0]): boolean => {
    if (message?.method !== 'ping') return false;
    res.writeHead(502).end();
    return true;
  };
  const { pool } = await rawPool({ before, tools: { bad: reply(502) } });
  await failing(pool, 10, eve);
  expect(await failure(echoFor(pool, { principal: 'alice' }))).toMatchObject({ code: 'ERR_CIRCUIT_OPEN' });
});

test('a breaker of one principal, or of a program whose calls name no caller, counts its failures in full', async () => {
  for (const [options, own] of [
    [{ breakerScope: 'principal' }, eve],
    [{}, {}],
  ] as const) {
    const { pool } = await rawPool({ tools: { bad: reply(502) } }, options);
    await failing(pool, 10, own);
    expect(await failure(tool(pool, 'echo', {}, own))).toMatchObject({ code: 'ERR_CIRCUIT_OPEN' });
  }
});

test.each([500, 502, 503])(
  'over HTTP+SSE, too, a %i counts as its caller’s vote where a ping is answered',
  async (status) => {
    let well = true;
    const server = await RawSse.listen({
      before: ({ message, res }) => {
        const isBad = message.params?.name === 'bad' || (!well && message.method === 'ping');
        if (isBad) res.writeHead(status).end();
        return isBad;
      },
    });
    const pool = closeAfter(new SSEPool());
    pool.addServer({ name: 'raw', transport: 'sse', url: server.url });
    await failing(pool, 12, eve);
    expect(await echoFor(pool, { principal: 'alice' })).toBe('hi');
    well = false;
    await failing(pool, 10, eve);
    expect(await failure(echoFor(pool, { principal: 'alice' }))).toMatchObject({ code: 'ERR_CIRCUIT_OPEN' });
  },
);
