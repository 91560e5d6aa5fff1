import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ModernOverLegacy } from '../../src/gateway/bridge/ModernOverLegacy.js';
import type { CallOptions } from '../../src/gateway/endpoint/Endpoint.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { exchange, type Message } from '../support/httpClient.js';
import { headersOf, META_OF_ANYONE } from '../support/modernRequests.js';
import { type Exchange, RawServer, said } from '../support/rawServer.js';

/** Calls of modern clients whose legacy server asks, and goes on before the client is back with the answers. */

const ASK = { message: 'sure?', requestedSchema: { type: 'object', properties: {} } };

test.each([
  [{ result: said('paid') }, { result: { resultType: 'complete', ...said('paid') } }],
  [{ error: { code: -7, message: 'paid, and failed' } }, { error: { code: -7 } }],
  [undefined, { error: { data: { code: 'ERR_OUTCOME_UNKNOWN' } } }],
])('what a call ended with while its client was away is told when it is back: %j', async (end, expected) => {
  let asking: Exchange | undefined;
  const ask = (exchange: Exchange): void => {
    asking = exchange;
    exchange.sse();
    exchange.event({ jsonrpc: '2.0', id: 'q', method: 'elicitation/create', params: ASK });
  };
  const upstream = await RawServer.listen({ tools: { ask } });
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url: upstream.url });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const url = `${(await gateway.listen()).url}/servers/s/mcp`;
  const call = async (more: object = {}): Promise<Message> => {
    const params = { name: 'ask', _meta: META_OF_ANYONE, arguments: {}, ...more };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
    const { messages } = await exchange(url, { headers: headersOf('tools/call', 'ask'), body });
    return messages.find(({ id }) => id === 1) ?? {};
  };
  const { requestState } = (await call()).result as { requestState: string };
  expect(pool.stats('s')).toMatchObject({ inFlight: 1 });
  if (end === undefined) asking?.res.destroy();
  else asking?.event({ jsonrpc: '2.0', id: asking.message.id, ...end });
  await expect.poll(() => pool.stats('s')).toMatchObject({ inFlight: 0 });
  const inputResponses = { 'request-1': { action: 'accept', content: {} } };
  expect(await call({ requestState, inputResponses })).toMatchObject(expected);
  // Once: it is kept for no third request.
  expect(await call({ requestState, inputResponses })).toMatchObject({ error: { code: -32602 } });
});

test('what changed on the connection of a modern client’s call is not told down the call', async () => {
  const echo = ({ message, sse, event, res }: Exchange): void => {
    sse();
    event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    event({
      jsonrpc: '2.0',
      method: 'notifications/progress',
      params: { progressToken: message.params._meta.progressToken, progress: 1 },
    });
    event({ jsonrpc: '2.0', id: message.id, result: said('done') });
    res.end();
  };
  const upstream = await RawServer.listen({ tools: { echo } });
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url: upstream.url, sharing: 'bound' });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const url = `${(await gateway.listen()).url}/servers/s/mcp`;
  const params = { name: 'echo', _meta: { ...META_OF_ANYONE, progressToken: 'p' }, arguments: {} };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  const { messages } = await exchange(url, { headers: headersOf('tools/call', 'echo'), body });
  expect(messages.map(({ method, id }) => method ?? id)).toEqual(['notifications/progress', 1]);
});

/** A call that was asked for input, whose server ends it when `end` is called. */
async function asked(held: HeldBytes, asks: object = {}) {
  const calls = new ModernOverLegacy(new FakeClock(), held, () => undefined);
  let end = (_: unknown): void => undefined;
  const ended = new Promise<unknown>((resolve) => {
    end = resolve;
  });
  const send = (_: unknown, { onRequest, signal }: CallOptions): Promise<unknown> => {
    onRequest?.({ method: 'sampling/createMessage', params: asks } as never, signal as never).catch(() => undefined);
    return ended;
  };
  const request = (requestState?: string, args: unknown = { a: [1, { b: 2, c: null }] }): Promise<unknown> => {
    const call = { client: { capabilities: { sampling: {} } } } as unknown as CallOptions;
    const params = { name: 'ask', arguments: args, ...(requestState !== undefined && { requestState }) };
    return calls.request({ server: 's', method: 'tools/call', params, call, owner: 'a', send });
  };
  const { requestState } = needed(await request());
  return { calls, end, comeBack: (args?: unknown) => request(requestState, args), request };
}

/** What a client is told that has to answer first. */
const needed = (result: unknown): { readonly requestState: string; readonly inputRequests: object } =>
  JSON.parse(Buffer.from(result as Uint8Array).toString());

test('an answer that waits for its client counts as held until it is taken, or all end', async () => {
  const held = new HeldBytes(1e6);
  const { calls, end, comeBack } = await asked(held);
  end({ content: ['x'.repeat(100_000)] });
  await expect.poll(() => held.held).toBeGreaterThan(200_000);
  expect(await comeBack()).toMatchObject({ resultType: 'complete' });
  expect(held.held).toBe(0);
  const other = await asked(held);
  other.end(Buffer.alloc(300_000));
  await expect.poll(() => held.held).toBeGreaterThan(300_000);
  for (const each of [calls, other.calls]) each.close(new Error('over'));
  expect(held.held).toBe(0);
});

test('an answer for which there is no room is told as lost, not as one of a call that never was', async () => {
  const held = new HeldBytes(100_000);
  const { calls, end, comeBack } = await asked(held);
  end({ content: ['x'.repeat(100_000)] });
  await setImmediate();
  await expect(comeBack()).rejects.toMatchObject({ rpcCode: -32_603, message: expect.stringContaining('is lost') });
  calls.close(new Error('over'));
  await expect.poll(() => held.held).toBe(0);
});

test('a question is written once, however often its client comes back without an answer', async () => {
  let looks = 0;
  const asks = Object.defineProperty({}, 'message', { enumerable: true, get: () => `${++looks > 0}` });
  const { comeBack, request } = await asked(new HeldBytes(1e6), asks);
  const before = looks;
  let told = needed(await comeBack());
  for (let i = 0; i < 3; i++) told = needed(await request(told.requestState));
  const question = { method: 'sampling/createMessage', params: { message: 'true' } };
  expect(told).toEqual({
    resultType: 'input_required',
    inputRequests: { 'request-1': question },
    requestState: told.requestState,
  });
  expect(looks).toBe(before);
});

test('a client that comes back with other arguments is refused, and at the third time its call is over', async () => {
  const { comeBack, request } = await asked(new HeldBytes(1e6));
  const other = /not those that the call was begun with/;
  await expect(comeBack({ a: [1, { b: 2 }] })).rejects.toThrow(other);
  await expect(comeBack({ a: { 0: 1, 1: { b: 2, c: null } } })).rejects.toThrow(other);
  // The same in another order.
  const { requestState } = needed(await comeBack({ a: [1, { c: null, b: 2 }] }));
  await expect(request(requestState, { a: [1, { b: 2, c: 3 }] })).rejects.toThrow(other);
  await expect(request(requestState)).rejects.toThrow('its call is over');
});
