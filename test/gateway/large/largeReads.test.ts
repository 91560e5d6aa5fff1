import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { closeAfter } from '../../support/closeAfter.js';
import { RawClient } from '../../support/httpClient.js';
import { rawPool } from '../../support/httpPool.js';
import { IN_PIECES } from '../../support/largeCalls.js';
import type { Exchange } from '../../support/rawServer.js';

/** Large answers of which the gateway itself has to know something. */

const TEXT = 'x'.repeat(3_000_000);
const STATE = 'x'.repeat(1_000_000);
const TASKS = { list: {}, cancel: {}, requests: { tools: { call: {} } } };
type Answers = Readonly<Record<string, (params: Readonly<Record<string, unknown>>) => object>>;

async function client(path: string, era: 'legacy' | 'modern', answers: Answers): Promise<RawClient> {
  const before = ({ message, json }: Exchange): boolean => {
    const answer = message?.method === undefined ? undefined : answers[message.method];
    if (answer === undefined) return false;
    json({ jsonrpc: '2.0', id: message?.id, result: answer(message?.params ?? {}) });
    return true;
  };
  const { pool } = await rawPool({ era, before }, {}, { era });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const own = new RawClient(`${(await gateway.listen()).url}${path}`);
  await own.initialize();
  return own;
}

test('the result of a task leaves in pieces through the aggregate, under the id that its client knows', async () => {
  const { url, headers, ...own } = await (async () => {
    const raw = await client('/mcp', 'legacy', {
      initialize: () => ({
        protocolVersion: '2025-11-25',
        capabilities: { tools: {}, tasks: TASKS },
        serverInfo: { name: 'raw', version: '1' },
      }),
      'tools/list': () => ({ tools: [{ name: 't', inputSchema: { type: 'object' } }] }),
      'tools/call': () => ({ task: { taskId: 'own', status: 'working' } }),
      'tasks/result': ({ taskId }) => ({ content: [{ type: 'text', text: TEXT }], taskId }),
    });
    const made = await raw.call('tools/call', { name: 'raw__t', arguments: {}, task: {} });
    return {
      url: raw.url,
      headers: raw.headers,
      task: (made.result?.['task'] as { readonly taskId?: string } | undefined)?.taskId,
    };
  })();
  expect(own.task).not.toBe('own');
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', headers, agent: false }, resolve);
    const params = { taskId: own.task };
    outgoing.on('error', reject).end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tasks/result', params }));
  });
  expect(response.headers).toMatchObject(IN_PIECES);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  expect(JSON.parse(text).result).toEqual({ content: [{ type: 'text', text: TEXT }], taskId: own.task });
});

test('what a modern server asks a legacy client is read up to a bound, and refused beyond it', async () => {
  const states: unknown[] = [];
  const own = await client('/servers/raw/mcp', 'modern', {
    'tools/call': ({ name, requestState }) => {
      if (requestState === undefined)
        return { resultType: 'input_required', requestState: name === 'fits' ? STATE : TEXT, inputRequests: {} };
      states.push(requestState);
      return { resultType: 'complete', content: [], ttlMs: 5, _meta: { 'io.modelcontextprotocol/serverInfo': {} } };
    },
  });
  expect((await own.call('tools/call', { name: 'fits', arguments: {} })).result).toEqual({ content: [] });
  expect(states).toEqual([STATE]);
  const { error } = await own.call('tools/call', { name: 'too large', arguments: {} });
  expect(error).toMatchObject({ data: { code: 'ERR_MESSAGE_TOO_LARGE', retryable: false } });
  expect(error?.message).toContain('1048576');
  expect(states).toEqual([STATE]);
});
