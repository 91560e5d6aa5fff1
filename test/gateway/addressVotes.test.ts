import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { closeAfter } from '../support/closeAfter.js';
import { rawPool } from '../support/httpPool.js';
import { headersOf, META, META_OF_ANYONE } from '../support/modernRequests.js';
import { reply } from '../support/rawCalls.js';

/** Clients of several addresses: all of 127.0.0.0/8 is this machine. */

async function post(url: string, localAddress: string, message: object, own: Record<string, string> = {}) {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...own };
  const outgoing = request(url, { method: 'POST', localAddress, agent: false, headers });
  outgoing.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += chunk;
  return { session: String(response.headers['mcp-session-id'] ?? ''), body };
}

/** Calls tools of a client of that era at that address. */
async function client(url: string, era: string, address: string): Promise<(name: string) => Promise<string>> {
  if (era === 'modern')
    return async (name) => {
      // One that can be asked for nothing, as the others.
      const _meta = { ...META_OF_ANYONE, [`${META}/clientCapabilities`]: {} };
      const call = { id: 1, method: 'tools/call', params: { name, arguments: {}, _meta } };
      return (await post(url, address, call, headersOf('tools/call', name))).body;
    };
  const clientInfo = { name: 'c', version: '1' };
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
  const { session } = await post(url, address, { id: 0, method: 'initialize', params });
  const own = { 'mcp-session-id': session };
  await post(url, address, { method: 'notifications/initialized' }, own);
  return async (name) => {
    const { body } = await post(url, address, { id: 1, method: 'tools/call', params: { name } }, own);
    return body;
  };
}

test.each([
  ['legacy', 'legacy'],
  ['legacy', 'modern'],
  ['modern', 'modern'],
  ['modern', 'legacy'],
])(
  'without users, calls of one address (%s) that fail by a server which is well open its breaker for no other address (%s)',
  async (era, otherEra) => {
    const { pool } = await rawPool({ tools: { bad: reply(502) } });
    const gateway = closeAfter(new Gateway({ pool, port: 0 }));
    const url = `${(await gateway.listen()).url}/servers/raw/mcp`;
    const [one, other] = [await client(url, era, '127.0.0.2'), await client(url, otherEra, '127.0.0.3')];
    for (let i = 0; i < 12; i++) expect(await one('bad')).toContain('502');
    expect(await other('echo')).toContain('"result"');
    // They share one connection all the same.
    if (era === otherEra) expect(pool.stats('raw').connections).toBe(1);
  },
);
