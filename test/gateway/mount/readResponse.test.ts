import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { IncomingBytes } from '../../../src/connection/net/body/IncomingBytes.js';
import { readResponse } from '../../../src/gateway/stdio/readResponse.js';

/** A gateway that repeats what the path says, for 4 MB. */
const server = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? '', 'http://gateway');
  response.writeHead(200, { 'content-type': searchParams.get('type') ?? '' });
  response.write('data: {"first":1}\n\n');
  const chunk = (searchParams.get('chunk') ?? '').repeat(2_000);
  let left = 4_000_000;
  const flood = (): void => {
    do left -= chunk.length;
    while (!response.destroyed && response.write(chunk) && left > 0);
    if (left <= 0) response.end('\ndata: {"last":1}\n\n');
    else response.once('drain', flood);
  };
  flood();
});

beforeAll(async () => once(server.listen(0, '127.0.0.1'), 'listening'));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function asked(type: string, chunk: string): Promise<IncomingMessage> {
  const { port } = server.address() as AddressInfo;
  const query = new URLSearchParams({ type, chunk }).toString();
  const [response] = (await once(get(`http://127.0.0.1:${port}/?${query}`, { agent: false }), 'response')) as [
    IncomingMessage,
  ];
  return response;
}

test.each([
  ['application/json', ' '],
  ['text/event-stream', 'data: x\n'],
  ['text/event-stream', 'id: x\n'],
  ['text/event-stream', 'x'],
])('an answer of a gateway over the bound ends its reading with a typed error (%s, %j)', async (type, chunk) => {
  const messages: string[] = [];
  const response = await asked(type, chunk);
  await expect(
    readResponse(response, new IncomingBytes(1e9), { onMessage: (text) => messages.push(text) }, 100_000),
  ).rejects.toMatchObject({
    code: 'ERR_MESSAGE_TOO_LARGE',
    maxBytes: 100_000,
  });
  expect(messages).toEqual(type === 'text/event-stream' ? ['{"first":1}'] : []);
  await expect.poll(() => response.destroyed).toBe(true);
});

test('comments of a gateway are passed over for as long as they come', async () => {
  const messages: string[] = [];
  const response = await asked('text/event-stream', ': hi\n');
  await readResponse(response, new IncomingBytes(1e9), { onMessage: (text) => messages.push(text) }, 100_000);
  expect(messages).toEqual(['{"first":1}', '{"last":1}']);
});
