import { expect, test } from 'vitest';
import { RequestStates } from '../../src/gateway/bridge/RequestStates.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange, type Message } from '../support/httpClient.js';
import { RawServer } from '../support/rawServer.js';

const META = 'io.modelcontextprotocol';
const [ANNA, BERT] = ['token-of-anna-0001', 'token-of-bert-0001'];
const STATE = '{"secret":725653563933458433}';

/** A modern server whose tools and prompt ask before they answer; `seen` has the states that came back. */
async function server() {
  const seen: unknown[] = [];
  const raw = await RawServer.listen({
    era: 'modern',
    before: ({ message, json }) => {
      const { id, method, params } = message ?? {};
      const answer = (result: object): true => {
        json({ jsonrpc: '2.0', id, result });
        return true;
      };
      if (method === 'initialize') {
        json({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no such method' } }, 404);
        return true;
      }
      if (method === 'server/discover') {
        const about = { supportedVersions: ['2026-07-28'], capabilities: { tools: {}, prompts: {} } };
        return answer({ resultType: 'complete', ttlMs: 0, cacheScope: 'private', ...about });
      }
      if (method === 'tools/list') {
        const tools = ['one', 'two'].map((name) => ({ name, inputSchema: { type: 'object' } }));
        return answer({ resultType: 'complete', ttlMs: 0, cacheScope: 'private', tools });
      }
      if (method === 'prompts/list') {
        return answer({ resultType: 'complete', ttlMs: 0, cacheScope: 'private', prompts: [{ name: 'one' }] });
      }
      if (method !== 'tools/call' && method !== 'prompts/get') return false;
      if (params.requestState === undefined) {
        return answer({ resultType: 'input_required', inputRequests: {}, requestState: STATE });
      }
      seen.push(params.requestState);
      return answer({ resultType: 'complete', content: [], messages: [] });
    },
  });
  return { url: raw.url, seen };
}

async function gateway(url: string, sessionKeys?: readonly string[]): Promise<string> {
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url });
  const authenticate = bearerTokens({ [ANNA]: 'anna', [BERT]: 'bert' });
  const own = closeAfter(new Gateway({ pool, port: 0, authenticate, ...(sessionKeys && { sessionKeys }) }));
  return (await own.listen()).url;
}

async function ask(at: string, token: string, name: string, requestState?: unknown, method = 'tools/call') {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    authorization: `Bearer ${token}`,
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    'mcp-name': name,
  };
  const _meta = { [`${META}/protocolVersion`]: '2026-07-28', [`${META}/clientCapabilities`]: {} };
  const params = { name, _meta, ...(requestState !== undefined && { requestState, inputResponses: {} }) };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  return (await exchange(at, { headers, body })).messages.at(-1) as Message;
}

const REFUSED = { error: { code: -32_602, message: 'requestState is not one of this call' } };

test('a state is sealed: it opens for its call and its principal, on both paths, and for nothing else', async () => {
  const { url, seen } = await server();
  const at = await gateway(url);
  const state = (await ask(`${at}/servers/s/mcp`, ANNA, 'one')).result?.['requestState'] as string;
  expect(state).not.toContain('secret');
  const other = `${state.slice(0, -1)}${state.endsWith('A') ? 'B' : 'A'}`;
  for (const [token, name, given] of [
    [BERT, 'one', state],
    [ANNA, 'two', state],
    [ANNA, 'one', other],
    [ANNA, 'one', STATE],
    [ANNA, 'one', 7],
  ] as const) {
    expect(await ask(`${at}/servers/s/mcp`, token, name, given)).toMatchObject(REFUSED);
  }
  expect(await ask(`${at}/servers/s/mcp`, ANNA, 'one', state, 'prompts/get')).toMatchObject(REFUSED);
  expect(seen).toEqual([]);
  expect(await ask(`${at}/servers/s/mcp`, ANNA, 'one', state)).toMatchObject({ result: { resultType: 'complete' } });
  expect(await ask(`${at}/mcp`, ANNA, 's__one', state)).toMatchObject({ result: { resultType: 'complete' } });
  expect(seen).toEqual([STATE, STATE]);
  const prompted = (await ask(`${at}/mcp`, ANNA, 's__one', undefined, 'prompts/get')).result?.['requestState'];
  expect(await ask(`${at}/mcp`, ANNA, 's__one', prompted, 'prompts/get')).toMatchObject({ result: { messages: [] } });
});

test('a replica with the same keys opens it, another does not', async () => {
  const { url, seen } = await server();
  const keys = ['a-secret-that-all-replicas-have-in-common'];
  const [first, second, stranger] = await Promise.all([gateway(url, keys), gateway(url, keys), gateway(url)]);
  const state = (await ask(`${first}/servers/s/mcp`, ANNA, 'one')).result?.['requestState'];
  expect(await ask(`${stranger}/servers/s/mcp`, ANNA, 'one', state)).toMatchObject(REFUSED);
  expect(await ask(`${second}/servers/s/mcp`, ANNA, 'one', state)).toMatchObject({ result: { content: [] } });
  expect(seen).toEqual([STATE]);
});

test('params that are written anew, since a name in their _meta comes twice, say the state as its server gave it', async () => {
  const states = new RequestStates(undefined);
  const of = { principal: undefined, server: 's', method: 'tools/call', params: { name: 'a' } };
  const asked = Buffer.from('{"resultType":"input_required","requestState":"own"}');
  const { requestState } = JSON.parse(String(await states.sealed(of, asked)));
  const params = { name: 'a', requestState, _meta: { n: 2 } };
  const paramsText = JSON.stringify(params).replace('"n":2', '"n":1,"n":2');
  const opened = await states.opened({ ...of, params }, { paramsText });
  expect(opened.params).toMatchObject({ requestState: 'own' });
  expect(opened.paramsText).toBeUndefined();
});

test('a state of more than 1 MiB is refused', async () => {
  const states = new RequestStates(undefined);
  const of = { principal: undefined, server: 's', method: 'tools/call', params: {} };
  const asked = (length: number): Buffer =>
    Buffer.from(`{"resultType":"input_required","requestState":"${'x'.repeat(length)}"}`);
  const outcome = async (length: number): Promise<unknown> => states.sealed(of, asked(length));
  expect(String(await outcome(1_000_000))).toContain('input_required');
  await expect(outcome(1_100_000)).rejects.toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE' });
});

test('a state comes back as it was, whatever it is and however its name is written; null of a client is none', async () => {
  const states = new RequestStates(undefined);
  const of = { principal: undefined, server: 's', method: 'tools/call', params: { name: 'a' } };
  for (const state of ['"own"', '"\\udfff"', 'null', '5', '{"n":12345678901234567890}', '["a\\u0062"]']) {
    for (const name of ['requestState', 'reque\\u0073tState']) {
      const told = `{"resultType":"input\\u005frequired","${name}":${state}}`;
      const sealed = String(await states.sealed(of, Buffer.from(told)));
      const { requestState } = JSON.parse(sealed) as { requestState: string };
      expect(typeof requestState).toBe('string');
      expect(requestState).not.toBe(JSON.parse(state));
      const params = { name: 'a', requestState };
      const opened = await states.opened({ ...of, params }, { paramsText: JSON.stringify(params) });
      expect(opened.params).toEqual({ name: 'a', requestState: JSON.parse(state) });
      if (!state.startsWith('"')) expect(opened.paramsText).toBe(`{"name":"a","requestState":${state}}`);
    }
  }
  const given = { name: 'a', requestState: null };
  const none = await states.opened({ ...of, params: given }, { paramsText: '{"requestState":null,"name":"a"}' });
  expect(none).toMatchObject({ params: { name: 'a' }, paramsText: '{"name":"a"}' });
  const deep = `{"resultType":"input_required","requestState":${'['.repeat(5_000)}${']'.repeat(5_000)}}`;
  expect(() => states.sealed(of, Buffer.from(deep))).toThrow(/or levels/);
});
