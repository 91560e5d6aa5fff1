import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { closeAfter } from '../support/closeAfter.js';
import { rawPool } from '../support/httpPool.js';
import { reply } from '../support/rawCalls.js';

/** Clients of several addresses: all of 127.0.0.0/8 is this machine. */

async function post(url: string, localAddress: string, message: object, session = '') {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(session !== '' && { 'mcp-session-id': session }),
  };
  const outgoing = request(url, { method: 'POST', localAddress, agent: false, headers });
  outgoing.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  return { session: String(response.headers['mcp-session-id'] ?? ''), body };
}

test('without users, calls of one address that fail by a server which is well open its breaker for no other address', async () => {
  const { pool } = await rawPool({ tools: { bad: reply(502) } });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const url = `${(await gateway.listen()).url}/servers/raw/mcp`;
  const client = async (address: string) => {
    const clientInfo = { name: 'c', version: '1' };
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
    const { session } = await post(url, address, { id: 0, method: 'initialize', params });
    await post(url, address, { method: 'notifications/initialized' }, session);
    return async (name: string) => {
      const { body } = await post(url, address, { id: 1, method: 'tools/call', params: { name } }, session);
      return body;
    };
  };
  const [one, other] = [await client('127.0.0.2'), await client('127.0.0.3')];
  for (let i = 0; i < 12; i++) expect(await one('bad')).toContain('502');
  expect(await other('echo')).toContain('"result"');
  // They share one connection all the same.
  expect(pool.stats('raw').connections).toBe(1);
});
