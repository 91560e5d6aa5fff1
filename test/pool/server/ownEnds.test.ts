import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { expect, test } from 'vitest';
import { OutcomeUnknownError, ProtocolError, RequestTimeoutError } from '../../../src/core/errors.js';
import { Cancellation } from '../../../src/core/wait/Cancellation.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { verdictOf } from '../../../src/targets/routes.js';
import { FakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';

/** Calls that their own callers end, whatever they say why: the server is not to blame. */

async function start(): Promise<UnifiedPool> {
  const server = closeAfter(new FakeServer({ era: 'legacy', tools: { sleep: { serviceMs: 60_000 }, echo: {} } }));
  const { url } = await server.listen();
  const pool = closeAfter(new UnifiedPool({ breakerThreshold: 3, breakerCountsTimeouts: true }));
  pool.addServer({ name: 's', transport: 'http', url });
  return pool;
}

test('a call that its own caller ends, for whatever reason, is no failure of the server', async () => {
  const pool = await start();
  const reasons = [
    new OutcomeUnknownError('gateway', 'a session', 'its session ended'),
    new ProtocolError('s', 'x'),
    new RequestTimeoutError('s', 'tools/call', 5),
    'any text',
  ];
  for (const reason of reasons) {
    const control = new AbortController();
    const calls = Array.from({ length: 5 }, () => pool.callTool('s', 'sleep', {}, { signal: control.signal }));
    const ended = Promise.allSettled(calls);
    await expect.poll(() => pool.stats('s').inFlight).toBeGreaterThan(4);
    control.abort(reason);
    expect((await ended).map((each) => each.status)).toEqual(Array(5).fill('rejected'));
  }
  expect(pool.stats('s').breaker).toBe('closed');
  await pool.callTool('s', 'echo', {});
});

test('a client that ends its session with calls in flight costs no other client the server', async () => {
  const gateway = closeAfter(new Gateway({ pool: await start(), port: 0 }));
  const url = `${(await gateway.listen()).url}/servers/s/mcp`;
  const send = async (method: string, session: string, message?: object) => {
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(session !== '' && { 'mcp-session-id': session }),
    };
    const outgoing = request(url, { method, agent: false, headers });
    outgoing.end(message && JSON.stringify({ jsonrpc: '2.0', ...message }));
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    return { text, session: String(response.headers['mcp-session-id'] ?? '') };
  };
  const open = async (): Promise<string> => {
    const clientInfo = { name: 't', version: '1' };
    const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo };
    return (await send('POST', '', { id: 1, method: 'initialize', params })).session;
  };
  const [leaving, staying] = [await open(), await open()];
  const call = (id: number, name: string) => ({ id, method: 'tools/call', params: { name, arguments: {} } });
  const calls = Array.from({ length: 10 }, (_, at) => send('POST', leaving, call(at + 2, 'sleep')));
  await expect.poll(() => gateway.stats.inFlight).toBeGreaterThan(9);
  await send('DELETE', leaving);
  for (const { text } of await Promise.all(calls)) expect(text).toContain('ERR_OUTCOME_UNKNOWN');
  expect((await send('POST', staying, call(2, 'echo'))).text).toContain('"result"');
});

test('nor is it one of its target: it tells how long it waited', () => {
  const reason = new OutcomeUnknownError('gateway', 'a session', 'its session ended');
  const [control, cancellation] = [new AbortController(), new Cancellation()];
  control.abort(reason);
  cancellation.abort(reason);
  expect(verdictOf(reason, { signal: control.signal })).toBe('gaveUp');
  expect(verdictOf(reason, { cancellation })).toBe('gaveUp');
  expect(verdictOf(reason, {})).toBe('failed');
  const late = new RequestTimeoutError('s', 'ping', 1);
  expect([{ timeoutMs: 1 }, { deadlineMs: 1 }, {}].map((own) => verdictOf(late, own))).toEqual([
    'gaveUp',
    'gaveUp',
    'failed',
  ]);
  expect(verdictOf(new ProtocolError('s', 'x'), { signal: control.signal })).toBe('failed');
});
