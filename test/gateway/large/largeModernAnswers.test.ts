import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { closeAfter } from '../../support/closeAfter.js';
import { rawPool } from '../../support/httpPool.js';
import { IN_PIECES, read, whole } from '../../support/largeCalls.js';
import type { Exchange } from '../../support/rawServer.js';

/** Large answers of a modern server to a modern client: as in the legacy era, but for what a server has its client keep. */

const VERSION = '2026-07-28';
const META = 'io.modelcontextprotocol';
const TEXT = 'ü'.repeat(1_500_000);
const result = (before: object, after: object = {}): string =>
  JSON.stringify({ ...before, content: [{ type: 'text', text: TEXT }], ...after }, undefined, 1);
const answer =
  (json: string, told?: object) =>
  ({ res, message: { id } }: Exchange) => {
    const text = `{"jsonrpc":"2.0","id":${id},\r\n"result":${json}}`;
    if (told === undefined) res.writeHead(200, { 'content-type': 'application/json' }).end(text);
    else {
      const events = [JSON.stringify(told), text.replace(/[\r\n]/g, ' ')].map((each) => `data: ${each}\n\n`);
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end(events.join(''));
    }
  };
const COMPLETE = result({ resultType: 'complete' }, { requestState: 'no state' });
const TOLD = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'soon' } };
const broken = ({ res, message: { id } }: Exchange): void => {
  const part = `{"jsonrpc":"2.0","id":${id},"result":${COMPLETE.slice(0, -10).replace(/\n/g, ' ')}`;
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  res.write(`data: ${JSON.stringify(TOLD)}\n\ndata: ${part}`, () => res.destroy());
};

async function ask(): Promise<(name: string) => Promise<IncomingMessage>> {
  const { pool } = await rawPool(
    {
      era: 'modern',
      tools: {
        complete: answer(COMPLETE),
        told: answer(COMPLETE, TOLD),
        broken,
        asking: answer(result({ resultType: 'input_required', requestState: 'secret' })),
        askingLast: answer(result({ requestState: 'secret' }, { resultType: 'input_required' })),
      },
    },
    {},
    { era: 'modern' },
  );
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url } = await gateway.listen();
  return (name) =>
    new Promise((resolve, reject) => {
      const headers = {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': VERSION,
        'mcp-method': 'tools/call',
        'mcp-name': name,
      };
      const meta = {
        [`${META}/protocolVersion`]: VERSION,
        [`${META}/clientCapabilities`]: {},
        [`${META}/clientInfo`]: { name: 'raw', version: '1' },
        [`${META}/logLevel`]: 'info',
      };
      const params = { name, arguments: {}, _meta: meta };
      const outgoing = request(`${url}/servers/raw/mcp`, { method: 'POST', headers, agent: false }, resolve);
      outgoing.on('error', reject).end(JSON.stringify({ jsonrpc: '2.0', id: 'a', method: 'tools/call', params }));
    });
}

/** A body as text. */
async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return text;
}

test('a large result of a modern server comes in pieces, as JSON and as the last event of a stream', async () => {
  const call = await ask();
  const response = await call('complete');
  expect(response.headers).toMatchObject(IN_PIECES);
  expect(await read(response)).toEqual(whole('"a"', COMPLETE));
  const stream = await call('told');
  expect(stream.headers['content-type']).toBe('text/event-stream');
  const events = (await textOf(stream)).split('\n\n');
  const said = `{"jsonrpc":"2.0","id":"a","result":${COMPLETE.replace(/\n/g, ' ')}}`;
  expect(events.map((each) => each.replace(/^event: message\ndata: /, ''))).toEqual([JSON.stringify(TOLD), said, '']);
});

test('a large result that breaks off in a stream is followed by the error of its call', async () => {
  const response = await (await ask())('broken');
  const [told, part = '', error = '', ...rest] = (await textOf(response))
    .replaceAll('event: message\ndata: ', '')
    .split('\n\n');
  expect([told, rest]).toEqual([JSON.stringify(TOLD), ['']]);
  expect(() => JSON.parse(part)).toThrow();
  expect(JSON.parse(error)).toMatchObject({ id: 'a', error: { data: { code: 'ERR_OUTCOME_UNKNOWN' } } });
});

test('the state that a server has its client keep is sealed in a result in pieces, too', async () => {
  const call = await ask();
  for (const name of ['asking', 'askingLast']) {
    const response = await call(name);
    expect(response.headers).toMatchObject(IN_PIECES);
    const { result } = JSON.parse(await textOf(response)) as { result: Record<string, unknown> };
    expect(result).toMatchObject({ resultType: 'input_required', content: [{ text: TEXT }] });
    expect(result['requestState']).toMatch(/^.{40,}$/);
    expect(result['requestState']).not.toContain('secret');
  }
});
