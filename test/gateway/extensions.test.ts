import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange, type Message, RawClient } from '../support/httpClient.js';
import { RawServer } from '../support/rawServer.js';

type Era = 'legacy' | 'modern';
type Extensions = Readonly<Record<string, object>>;

const ERAS = ['legacy', 'modern'] as const;
const META = 'io.modelcontextprotocol';
const UI = `${META}/ui`;
const TASKS = `${META}/tasks`;
const OWN = 'com.example/own';
const SERVERS: Extensions = { [UI]: { a: 1, b: 2 }, [TASKS]: {}, [OWN]: { deep: { one: 1.5 } } };
const CLIENTS: Extensions = { [UI]: { mimeTypes: ['text/html'] }, [TASKS]: {}, [OWN]: { here: true } };

/** A server of one era alone with those extensions; `seen` has what it was told of its clients', a call after the other. */
async function server(era: Era, extensions: Extensions) {
  const seen: unknown[] = [];
  let said: unknown;
  const raw = await RawServer.listen({
    era,
    before: ({ message, json }) => {
      const { method, params, id } = message ?? {};
      const answer = (result: object): true => {
        json({ jsonrpc: '2.0', id, result });
        return true;
      };
      const about = { capabilities: { tools: {}, extensions }, serverInfo: { name: era, version: '1' } };
      if (method === 'initialize' && era === 'modern') {
        json({ jsonrpc: '2.0', id, error: { code: -32601, message: 'no such method' } }, 404);
        return true;
      }
      if (method === 'initialize') {
        said = params.capabilities.extensions;
        return answer({ protocolVersion: '2025-11-25', ...about });
      }
      if (method === 'server/discover' && era === 'modern')
        return answer({
          resultType: 'complete',
          supportedVersions: ['2026-07-28'],
          ttlMs: 0,
          cacheScope: 'private',
          ...about,
        });
      const complete = era === 'modern' ? { resultType: 'complete', ttlMs: 0, cacheScope: 'private' } : {};
      if (method === 'tools/list')
        return answer({ tools: [{ name: 'look', inputSchema: { type: 'object' } }], ...complete });
      if (method !== 'tools/call') return false;
      seen.push(era === 'legacy' ? said : params._meta[`${META}/clientCapabilities`].extensions);
      return answer({ content: [], ...complete });
    },
  });
  return { url: raw.url, seen };
}

type Served = Awaited<ReturnType<typeof server>>;
let legacy: Served;
let modern: Served;
let url: string;

/** A client of that era: what it is told of extensions, and a call of its. */
async function client(era: Era, path: string) {
  const at = url + path;
  const name = path === '/mcp' ? undefined : 'look';
  const told = ({ result }: Message): unknown =>
    (result?.['capabilities'] as { extensions?: unknown } | undefined)?.extensions;
  if (era === 'legacy') {
    const raw = new RawClient(at);
    const answer = await raw.initialize('2025-11-25', { extensions: CLIENTS });
    const call = (tool = name) => raw.call('tools/call', { name: tool, arguments: {} });
    return { told: told(answer), call };
  }
  const send = async (method: string, params: object, named: Record<string, string> = {}): Promise<Message> => {
    const _meta = {
      [`${META}/protocolVersion`]: '2026-07-28',
      [`${META}/clientCapabilities`]: { extensions: CLIENTS },
    };
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...named,
    };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta } });
    return (await exchange(at, { headers, body })).messages.at(-1) ?? {};
  };
  const call = (tool = name) => send('tools/call', { name: tool, arguments: {} }, { 'mcp-name': String(tool) });
  return { told: told(await send('server/discover', {})), call };
}

const without = (name: string, { [name]: _, ...rest }: Extensions): Extensions => rest;

async function house(): Promise<void> {
  legacy = await server('legacy', SERVERS);
  modern = await server('modern', { ...SERVERS, [UI]: { a: 1, b: 3 } });
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 'legacy', transport: 'http', url: legacy.url });
  pool.addServer({ name: 'modern', transport: 'http', url: modern.url });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  ({ url } = await gateway.listen());
}

for (const from of ERAS) {
  for (const to of ERAS) {
    test(`extensions of a ${from} client and a ${to} server`, async () => {
      await house();
      const served = to === 'legacy' ? legacy : modern;
      const offered = { ...SERVERS, ...(to === 'modern' && { [UI]: { a: 1, b: 3 } }) };
      const { told, call } = await client(from, `/servers/${to}/mcp`);
      expect(await call()).toMatchObject({ result: { content: [] } });
      // The tasks of the eras are not the same: what only one side knows is not offered to the other.
      expect(told).toEqual(from === to ? offered : without(TASKS, offered));
      expect(served.seen).toEqual([from === to ? CLIENTS : without(TASKS, CLIENTS)]);
    });
  }

  test(`extensions on the aggregate for a ${from} client: those that it can pass on, as far as its servers agree`, async () => {
    await house();
    const { told, call } = await client(from, '/mcp');
    expect(told).toEqual({ [UI]: { a: 1 }, [TASKS]: {} });
    for (const to of ERAS) {
      expect(await call(`${to}__look`)).toMatchObject({ result: { content: [] } });
      const { seen } = to === 'legacy' ? legacy : modern;
      expect(seen).toEqual([from === to ? CLIENTS : without(TASKS, CLIENTS)]);
    }
  });
}
