import { expect, test, vi } from 'vitest';
import { keepParams, textOf } from '../../src/connection/channel/codec/exactText.js';
import type { RequestHandler } from '../../src/connection/protocol/messages.js';
import { Flight } from '../../src/gateway/bridge/Flight.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { ClientRequests } from '../../src/gateway/session/ClientRequests.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { type Message, RawClient } from '../support/httpClient.js';
import { type Exchange, type RawOptions, RawServer, said } from '../support/rawServer.js';

const MIB = 1_024 * 1_024;

const limitsOf = (held: HeldBytes) => ({ maxRequestsPerSession: 100, replica: '00000000', held });

test('a question that cannot be written is refused, and the session can be asked others', async () => {
  const sent = vi.fn(() => true);
  const asks = new ClientRequests('a', sent, limitsOf(new HeldBytes(16_384)), new FakeClock());
  const deep = JSON.parse(`${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`) as Record<string, unknown>;
  const ask = (params: Record<string, unknown>) =>
    asks.ask({ server: 's', method: 'elicitation/create', params, signal: new AbortController().signal });
  await expect(ask(deep)).rejects.toMatchObject({ code: 'ERR_RPC', rpcCode: -32_603 });
  expect([asks.size, sent.mock.calls.length]).toEqual([0, 0]);
  const other = ask({ message: '?' });
  expect(asks.size).toBe(1);
  asks.answer('ask-00000000-1', { result: { a: 1 }, error: undefined });
  expect(await other).toEqual({ a: 1 });
});

test('questions that no stream takes are not all tried again, in every stream, with each call that begins', async () => {
  const anywhere = vi.fn(() => false);
  const asks = new ClientRequests('a', anywhere, limitsOf(new HeldBytes(600_000)), new FakeClock());
  const { signal } = new AbortController();
  const asked = Array.from({ length: 50 }, () =>
    asks.ask({ server: 's', method: 'elicitation/create', params: {}, signal }).catch(() => 'over'),
  );
  anywhere.mockClear();
  const begun = vi.fn(() => false);
  asks.flush(begun);
  asks.flush();
  expect([begun, anywhere].map(({ mock }) => mock.calls.length)).toEqual([1, 1]);
  begun.mockReturnValue(true);
  asks.flush(begun);
  expect(begun).toHaveBeenCalledTimes(51);
  asks.close(new Error('over'));
  expect(new Set(await Promise.all(asked))).toEqual(new Set(['over']));
});

test('the questions of a call of the modern era end with it, and its result is told then, not kept', async () => {
  const held = new HeldBytes(310_000);
  const flight = new Flight('s', 'a call', { capabilities: { elicitation: {} } }, 'b', held);
  const request = { id: 1, method: 'elicitation/create', params: { message: '?' } };
  const { signal } = new AbortController();
  let ask!: () => Promise<unknown>;
  const asked: Promise<unknown>[] = [];
  const begin = async (onRequest: RequestHandler): Promise<unknown> => {
    ask = () => onRequest(request, { signal });
    asked.push(ask(), ask());
    return 'result';
  };
  const onEnd = vi.fn();
  flight.start(begin, onEnd);
  for (const each of asked) await expect(each).rejects.toMatchObject({ code: 'ERR_RPC', rpcCode: -32_603 });
  await expect(ask()).rejects.toMatchObject({ rpcCode: -32_601 });
  expect(await flight.round()).toEqual({ result: 'result' });
  expect([onEnd.mock.calls.length, held.held]).toEqual([1, 0]);
});

test('questions that wait for a client are held by their bytes, and refused beyond the bound', async () => {
  const held = new HeldBytes(310_000);
  const asks = new ClientRequests('a', () => true, limitsOf(held), new FakeClock());
  const flight = new Flight('s', 'a call', { capabilities: { elicitation: {} } }, 'b', held);
  const request = { id: 1, method: 'elicitation/create', params: { message: 'x'.repeat(20_000) } };
  const control = new AbortController();
  const { signal } = control;
  let askFlight!: () => Promise<unknown>;
  flight.start(
    (onRequest) =>
      new Promise((_resolve, reject) => {
        askFlight = () => onRequest(request, { signal });
        flight.control.join({ onAbort: reject });
      }),
    () => undefined,
  );
  const first = asks.ask({ server: 's', ...request, signal });
  const second = askFlight();
  expect(held.held).toBeGreaterThan(2 * 40_000);
  await expect(askFlight()).rejects.toMatchObject({ code: 'ERR_RPC', rpcCode: -32_603 });
  await expect(asks.ask({ server: 's', ...request, signal })).rejects.toMatchObject({ rpcCode: -32_603 });
  asks.answer('ask-00000000-1', { result: { a: 1 }, error: undefined });
  expect(await first).toEqual({ a: 1 });
  const third = askFlight();
  flight.answer({ 'request-1': { action: 'decline' } });
  expect(await second).toEqual({ action: 'decline' });
  control.abort(new Error('given up'));
  await expect(third).rejects.toThrow('given up');
  expect(held.held).toBe(0);
  // One client has its share alone, whatever room there is.
  const wide = new HeldBytes(Number.POSITIVE_INFINITY);
  const large = {
    ...request,
    params: { message: 'x'.repeat(9 * 1_024 * 1_024) },
    server: 's',
    signal: new AbortController().signal,
  };
  const one = new ClientRequests('a', () => true, limitsOf(wide), new FakeClock());
  const waiting = one.ask(large);
  await expect(one.ask(large)).rejects.toMatchObject({ rpcCode: -32_603 });
  one.close(new Error('over'));
  await expect(waiting).rejects.toThrow('over');
  expect(wide.held).toBe(0);
});

test('an answer with a result and an error that is null is the result', async () => {
  const asks = new ClientRequests('a', () => true, limitsOf(new HeldBytes(16_384)), new FakeClock());
  const { signal } = new AbortController();
  const ask = () => asks.ask({ server: 's', method: 'elicitation/create', params: {}, signal });
  const answered = ask();
  asks.answer('ask-00000000-1', { result: { action: 'accept' }, error: null });
  expect(await answered).toEqual({ action: 'accept' });
  const failed = ask();
  asks.answer('ask-00000000-2', { result: undefined, error: null });
  await expect(failed).rejects.toMatchObject({ code: 'ERR_RPC' });
});

/** Params as a connection hands them on, that came in a message with that text around theirs. */
function arrived(paramsText: string, beside = ''): Record<string, unknown> {
  const message = Buffer.from(`{"id":1,"method":"elicitation/create","params":${paramsText},"beside":"${beside}"}`);
  const { params } = JSON.parse(message.toString()) as { params: Record<string, unknown> };
  keepParams(params, message);
  return params;
}

test('of a question that waits, what its message says beside the params is not kept; the params stay as they came', async () => {
  const asks = new ClientRequests('a', () => true, limitsOf(new HeldBytes(1e9)), new FakeClock());
  const { signal } = new AbortController();
  const text = '{"a":1.0,"long":"\\u0041"}';
  const ask = (): Record<string, unknown> => {
    const params = arrived(text, 'x'.repeat(2_000_000));
    asks.ask({ server: 's', method: 'elicitation/create', params, signal }).catch(() => undefined);
    return params;
  };
  const used = (): number => {
    collectGarbage();
    // Not what buffers hold, which may be freed later.
    return process.memoryUsage().heapUsed;
  };
  const before = used();
  const waiting = Array.from({ length: 10 }, ask);
  expect(used() - before).toBeLessThan(10_000_000);
  expect(waiting.map((params) => textOf(params))).toEqual(waiting.map(() => text));
  asks.close(new Error('over'));
});

test('the text of its params counts as held, however little they say', () => {
  const held = new HeldBytes(1e9);
  const asks = new ClientRequests('a', () => true, limitsOf(held), new FakeClock());
  const { signal } = new AbortController();
  const params = arrived(`{"a":${' '.repeat(100_000)}1}`);
  asks.ask({ server: 's', method: 'elicitation/create', params, signal }).catch(() => undefined);
  expect(held.held).toBeGreaterThan(200_000);
  asks.close(new Error('over'));
  expect(held.held).toBe(0);
});

test.each(['/servers/one/mcp', '/mcp'])(
  'a question at %s whose call has been answered keeps nothing of that call, and is still answered',
  async (path) => {
    const ask = ({ message, sse, event, res }: Exchange): void => {
      sse();
      event({ jsonrpc: '2.0', id: `q${message.id}`, method: 'elicitation/create', params: { message: '?' } });
      event({ jsonrpc: '2.0', id: message.id, result: said('done') });
      res.end();
    };
    const serverInfo = { name: 'asks', version: '1' };
    const results: ReadonlyMap<string, object> = new Map([
      ['initialize', { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo }],
      ['tools/list', { tools: [{ name: 'ask', inputSchema: { type: 'object' } }] }],
    ]);
    const before: RawOptions['before'] = ({ message, json }) => {
      const result = results.get(message?.method);
      if (result !== undefined) json({ jsonrpc: '2.0', id: message.id, result });
      return result !== undefined;
    };
    const upstream = await RawServer.listen({ tools: { ask }, before });
    const pool = closeAfter(new UnifiedPool({ ledger: false }));
    pool.addServer({ name: 'one', transport: 'http', url: upstream.url });
    const gateway = closeAfter(new Gateway({ pool, port: 0 }));
    const client = new RawClient(`${(await gateway.listen()).url}${path}`);
    await client.initialize('2025-11-25', { elicitation: {} });
    const call = async (chars: number): Promise<readonly Message[]> => {
      const params = { name: path === '/mcp' ? 'one__ask' : 'ask', arguments: { text: 'x'.repeat(chars) } };
      const { messages } = await client.send({
        jsonrpc: '2.0',
        id: 'a-call-of-that-client',
        method: 'tools/call',
        params,
      });
      upstream.seen.length = 0;
      return messages;
    };
    const [question] = await call(MIB);
    const usedBefore = collectGarbage();
    for (let at = 0; at < 10; at++) expect(await call(2 * MIB)).toHaveLength(2);
    await client.call('ping');
    // Not the 20 MiB of their arguments. On a busy machine a collection takes long, and what is freed comes turns later.
    await expect.poll(() => (collectGarbage() - usedBefore) / MIB, { timeout: 15_000 }).toBeLessThan(8);
    await client.send({ jsonrpc: '2.0', id: question?.id, result: { action: 'accept' } });
    await expect.poll(() => upstream.seen.map(({ message }) => message?.result?.action)).toContain('accept');
  },
);
