import type { ServerResponse } from 'node:http';
import { expect, test, vi } from 'vitest';
import type { HttpConnection } from '../../../src/connection/http/HttpConnection.js';
import type { ServerNotice } from '../../../src/connection/protocol/messages.js';
import { MAX_BATCH } from '../../../src/connection/protocol/messages.js';
import type { StdioConnection } from '../../../src/connection/stdio/StdioConnection.js';
import { silentLogger } from '../../../src/core/logger.js';
import { TURN_DEFAULTS } from '../../../src/core/time/turns.js';
import { openHttp } from '../../support/httpServers.js';
import { LEGACY } from '../../support/rawCalls.js';
import { RawServer, said } from '../../support/rawServer.js';
import { fixture } from '../../support/servers.js';
import { open } from '../../support/stdioConnection.js';

const depth = vi.hoisted(() => ({ bytes: 0 }));
vi.mock('../../../src/connection/channel/codec/depth.js', async (original) => {
  const real = await original<typeof import('../../../src/connection/channel/codec/depth.js')>();
  return {
    ...real,
    isDeep: (text: string | Uint8Array) => {
      depth.bytes += text.length;
      return real.isDeep(text);
    },
  };
});

type Transport = 'stdio' | 'json' | 'events';
type Reached = Pick<StdioConnection | HttpConnection, 'request' | 'counters' | 'onNotification'>;

/** A server that answers its first call with a line, a JSON body or an event that says `text`, where $ID is the call's id. */
async function answering(transport: Transport, text: string, logger = silentLogger): Promise<Reached> {
  if (transport === 'stdio') {
    const connection = await open([fixture('hostile-server.mjs')], { logger });
    const js = `out(${JSON.stringify(text)}.replaceAll('$ID', id) + '\\n')`;
    const request: Reached['request'] = (method, _params, options) =>
      connection.request(method, { name: 'x', arguments: { js } }, options);
    return Object.assign(Object.create(null), {
      request,
      counters: connection.counters,
      onNotification: connection.onNotification.bind(connection),
    }) as Reached;
  }
  const answer = ({ res, message }: { readonly res: ServerResponse; readonly message: { readonly id?: unknown } }) => {
    const said = text.replaceAll('$ID', String(message.id));
    res.writeHead(200, { 'content-type': transport === 'json' ? 'application/json' : 'text/event-stream' });
    res.end(transport === 'json' ? said : `data: ${said}\n\n`);
  };
  const server = await RawServer.listen({ tools: { x: answer as never } });
  return openHttp(server.url, { ...LEGACY, logger });
}

const ask = (connection: Reached): Promise<unknown> =>
  connection.request('tools/call', { name: 'x', arguments: {} }, {});
const own = { jsonrpc: '2.0', id: '$ID', result: said('own') };
const written = (messages: readonly unknown[]): string => JSON.stringify(messages).replace('"$ID"', '$ID');
const notices = (count: number): object[] =>
  Array.from({ length: count }, (_, i) => ({ jsonrpc: '2.0', method: `notifications/x${i}` }));

const TRANSPORTS: readonly Transport[] = ['stdio', 'json', 'events'];

test.each(TRANSPORTS)('an array of a server is taken whole and in order, up to its bound (%s)', async (transport) => {
  const connection = await answering(transport, written([...notices(MAX_BATCH - 1), own]));
  const heard: ServerNotice[] = [];
  connection.onNotification((notice) => heard.push(notice));
  expect(await ask(connection)).toEqual(said('own'));
  expect(heard.map(({ method }) => method)).toEqual(notices(MAX_BATCH - 1).map((each) => Object(each).method));
});

test.each(TRANSPORTS)(
  'one over the bound is garbage: the call that it answers fails, nothing else is told (%s)',
  async (transport) => {
    const warn = vi.fn();
    const connection = await answering(transport, written([...notices(MAX_BATCH), own]), { ...silentLogger, warn });
    const heard = vi.fn();
    connection.onNotification(heard);
    await expect(ask(connection)).rejects.toMatchObject({
      code: 'ERR_PROTOCOL',
      message: expect.stringContaining(`an array of ${MAX_BATCH + 1} messages, ${MAX_BATCH} allowed`),
    });
    expect(heard).not.toHaveBeenCalled();
    expect(connection.counters.garbage).toBe(1);
    expect(warn).toHaveBeenCalledOnce();
  },
);

test.each(TRANSPORTS)(
  'the text of an array is looked through once, not once for each of its messages (%s)',
  async (transport) => {
    const padding = { jsonrpc: '2.0', method: 'notifications/x', params: { text: 'x'.repeat(10_000) } };
    const text = written([...new Array(MAX_BATCH - 1).fill(padding), own]);
    const connection = await answering(transport, text);
    depth.bytes = 0;
    expect(await ask(connection)).toEqual(said('own'));
    expect(depth.bytes).toBeLessThan(2 * text.length);
  },
);

const ZEROS = JSON.stringify(new Array(MAX_BATCH).fill(0));
const ARRAYS = 200;

/** The most messages that were handled between two looks of the loop, until all are. */
function mostAtOnce({ counters }: Reached, all: number): Promise<number> {
  return new Promise((resolve) => {
    let before = counters.garbage;
    let most = 0;
    const look = (): void => {
      most = Math.max(most, counters.garbage - before);
      before = counters.garbage;
      if (before < all) setImmediate(look);
      else resolve(most);
    };
    setImmediate(look);
  });
}

// A turn's budget, what is left of the one before, and the array that spends each.
const MOST = 2 * (TURN_DEFAULTS.maxMessages + MAX_BATCH);

test('a flood of arrays is read in turns of the loop, as one of single lines is (stdio)', async () => {
  const connection = await open([fixture('hostile-server.mjs')]);
  const most = mostAtOnce(connection, ARRAYS * MAX_BATCH);
  const js = `out('${ZEROS}\\n'.repeat(${ARRAYS})); reply()`;
  await connection.request('tools/call', { name: 'x', arguments: { js } }, {});
  expect(await most).toBeLessThanOrEqual(MOST);
});

test('so it is when they come as events of one stream', async () => {
  let send = (_text: string): void => undefined;
  const server = await RawServer.listen({
    get: ({ sse, res }) => {
      sse();
      send = (text) => void res.write(text);
    },
  });
  const connection = await openHttp(server.url, LEGACY);
  await expect.poll(() => server.of('GET').length).toBe(1);
  send(`data: ${ZEROS}\n\n`);
  await expect.poll(() => connection.counters.garbage).toBe(MAX_BATCH);
  const most = mostAtOnce(connection, ARRAYS * MAX_BATCH);
  send(`data: ${ZEROS}\n\n`.repeat(ARRAYS - 1));
  expect(await most).toBeLessThanOrEqual(MOST);
});

test.each(TRANSPORTS)('what a server asks without an id is told as no notification: %s', async (transport) => {
  const asked = ['elicitation/create', 'sampling/createMessage', 'roots/list', 'x/y'];
  const text = written([...asked.map((method) => ({ jsonrpc: '2.0', method, params: {} })), ...notices(1), own]);
  const connection = await answering(transport, text);
  const told: ServerNotice[] = [];
  connection.onNotification((notice) => told.push(notice));
  const mine: ServerNotice[] = [];
  const onNotification = (notice: ServerNotice) => void mine.push(notice);
  await connection.request('tools/call', { name: 'x', arguments: {} }, { onNotification });
  expect([...told, ...mine]).toEqual([{ method: 'notifications/x0' }]);
  expect(connection.counters.garbage).toBe(asked.length);
});
