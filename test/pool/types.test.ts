import type {
  CallToolResult,
  CompleteResult,
  EmptyResult,
  GetPromptResult,
  ListToolsResult,
  ReadResourceResult,
} from '@modelcontextprotocol/client';
import { expect, expectTypeOf, test } from 'vitest';
import type { ConnectionLease, McpPool, RequestOptions } from '../../src/pool/McpPool.js';
import type { MethodMap, ResultOf } from '../../src/pool/MethodMap.js';
import { MEMORY, memoryPool } from '../support/memoryPool.js';

/** Never run: what matters is that it compiles, and `npm run types` fails where it does not. */
async function typed(pool: McpPool, lease: ConnectionLease, method: string, any: RequestOptions): Promise<void> {
  expectTypeOf(await pool.request('s', 'tools/call', { name: 'x' })).toEqualTypeOf<CallToolResult>();
  expectTypeOf(await pool.request('s', 'tools/list')).toEqualTypeOf<ListToolsResult>();
  expectTypeOf(await pool.request('s', 'resources/subscribe', { uri: 'x' })).toEqualTypeOf<EmptyResult>();
  expectTypeOf(await pool.request('s', 'tools/call', {}, { timeoutMs: 1 })).toEqualTypeOf<CallToolResult>();
  expectTypeOf(await pool.request('s', 'vendor/thing')).toBeUnknown();
  expectTypeOf(await pool.request('s', method)).toBeUnknown();
  expectTypeOf(await pool.request('s', 'tools/call', {}, { raw: true })).toEqualTypeOf<Uint8Array>();
  // Options that may ask for bytes promise nothing.
  expectTypeOf(await pool.request('s', 'tools/call', {}, any)).toBeUnknown();
  expectTypeOf(await lease.request('prompts/get', { name: 'x' })).toEqualTypeOf<GetPromptResult>();
  expectTypeOf(await lease.request('vendor/thing')).toBeUnknown();
  expectTypeOf(await pool.callTool('s', 'x', { a: 1 }, { deadlineMs: 1 })).toEqualTypeOf<CallToolResult>();
  expectTypeOf(await pool.readResource('s', 'file:///a')).toEqualTypeOf<ReadResourceResult>();
  expectTypeOf(await pool.getPrompt('s', 'x', { a: 'b' })).toEqualTypeOf<GetPromptResult>();
  const ref = { type: 'ref/prompt', name: 'x' } as const;
  expectTypeOf(await pool.complete('s', { ref, argument: { name: 'a', value: 'b' } })).toEqualTypeOf<CompleteResult>();
  // @ts-expect-error a prompt's arguments are strings
  await pool.getPrompt('s', 'x', { a: 1 });
  // @ts-expect-error a typed result is no bytes
  await pool.callTool('s', 'x', {}, { raw: true });
}

test('MethodMap has the requests of a client, and knows no others', () => {
  expectTypeOf<keyof MethodMap>().toEqualTypeOf<
    | 'ping'
    | 'server/discover'
    | 'tools/list'
    | 'tools/call'
    | 'prompts/list'
    | 'prompts/get'
    | 'resources/list'
    | 'resources/templates/list'
    | 'resources/read'
    | 'resources/subscribe'
    | 'resources/unsubscribe'
    | 'completion/complete'
    | 'logging/setLevel'
  >();
  expectTypeOf<ResultOf<'x'>>().toBeUnknown();
  expect(typed).toBeTypeOf('function');
});

test('the typed calls send what the protocol says', async () => {
  const { pool, connector } = memoryPool();
  pool.addServer(MEMORY);
  connector.onMessage = ({ id, method, params }, connection) => {
    if (id !== undefined) connection.answer(id, { asked: method, params });
  };
  expect(await pool.callTool('s', 'add', { a: 1 })).toEqual({
    asked: 'tools/call',
    params: { name: 'add', arguments: { a: 1 } },
  });
  expect(await pool.callTool('s', 'now')).toEqual({ asked: 'tools/call', params: { name: 'now' } });
  expect(await pool.readResource('s', 'file:///a')).toEqual({ asked: 'resources/read', params: { uri: 'file:///a' } });
  expect(await pool.getPrompt('s', 'greet', { name: 'Ann' })).toEqual({
    asked: 'prompts/get',
    params: { name: 'greet', arguments: { name: 'Ann' } },
  });
  expect(await pool.getPrompt('s', 'plain')).toEqual({ asked: 'prompts/get', params: { name: 'plain' } });
  const asked = { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'name', value: 'A' } } as const;
  expect(await pool.complete('s', asked)).toEqual({ asked: 'completion/complete', params: asked });
});

test('their options are those of request: a caller, a timeout, a signal', async () => {
  const { pool, connector, clock } = memoryPool();
  pool.addServer(MEMORY);
  const late = pool.callTool('s', 'hang', {}, { timeoutMs: 10 }).catch((error: { code: string }) => error.code);
  await pool.callTool('s', 'x', {}, { caller: { principal: 'ann' } });
  expect(connector.made).toHaveLength(2);
  const control = new AbortController();
  const aborted = pool.readResource('s', 'x', { signal: control.signal }).catch((reason: unknown) => reason);
  control.abort('enough');
  expect(await aborted).toBe('enough');
  await clock.advance(20);
  expect(await late).toBe('ERR_REQUEST_TIMEOUT');
});
