import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { closeAfter } from '../../support/closeAfter.js';
import { RawClient } from '../../support/httpClient.js';
import { rawPool } from '../../support/httpPool.js';
import { ask, IN_PIECES, isWhole, read, whole } from '../../support/largeCalls.js';
import type { Handler } from '../../support/rawServer.js';

/** Large answers of an HTTP server leave while they come, as those of a stdio server do. */

const PART = 'x'.repeat(64 * 1_024);
const PARTS = 40;
const RESULT = `{"content":[{"type":"text","text":"${PART.repeat(PARTS)}"}]}`;
const EVENTS = { 'content-type': 'text/event-stream' };
const JSON_TYPE = { 'content-type': 'application/json' };

/** Parts that the server has written so far, of the answer that it writes now. */
let written = 0;

/** Writes as fast as it is read. */
async function put(res: ServerResponse, text: string): Promise<void> {
  if (res.write(text) || res.destroyed) return;
  await new Promise<void>((done) => {
    const goOn = (): void => {
      res.off('drain', goOn).off('close', goOn);
      done();
    };
    res.on('drain', goOn).on('close', goOn);
  });
}

/** An answer with `before` and `after` around what the text says, in `parts`. */
const large =
  (
    message: (id: unknown) => readonly [before: string, after: string],
    parts = PARTS,
    ending: 'end' | 'destroy' = 'end',
  ): Handler =>
  async ({ res, message: { id } }) => {
    const [before, after] = message(id);
    res.writeHead(
      200,
      before.startsWith('{') || before.startsWith('[') || before.startsWith('\n') ? JSON_TYPE : EVENTS,
    );
    res.write(before);
    for (written = 0; written < parts && !res.destroyed; written++) await put(res, PART);
    if (ending === 'end') res.end(after);
    else res.destroy();
  };
const OPEN = '{"content":[{"type":"text","text":"';
const CLOSE = '"}]}';
const first = (id: unknown) => [`{"jsonrpc":"2.0","id":${id},"result":${OPEN}`, `${CLOSE}}`] as const;
const last = (id: unknown) => [`{"result":${OPEN}`, `${CLOSE},"jsonrpc":"2.0","id":${id}}`] as const;

/** The same as an event, between other lines. */
const event =
  (message: (id: unknown) => readonly [string, string], before = 'data: ', after = '\n\n') =>
  (id: unknown) =>
    [`${before}${message(id)[0]}`, `${message(id)[1]}${after}`] as const;

async function client(
  tools: Readonly<Record<string, Handler>>,
  settings: { maxConcurrent?: number } = {},
): Promise<RawClient> {
  const { pool } = await rawPool({ tools }, {}, settings);
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const made = new RawClient(`${(await gateway.listen()).url}/servers/raw/mcp`);
  await made.initialize();
  return made;
}

test('a large answer comes as its server wrote it, wherever the id stands, compressed or not', async () => {
  const one = await client({
    first: large(first),
    last: large(last),
    spaced: large((id) => [`\n{ "result" :\t${OPEN}`, `${CLOSE}\r\n, "id": "${id}" }\n`]),
    gzip: ({ res, message: { id } }) => {
      const [before, after] = first(id);
      const body = gzipSync(`${before}${PART.repeat(PARTS)}${after}`);
      res.writeHead(200, { ...JSON_TYPE, 'content-encoding': 'gzip' }).end(body);
    },
    event: large(event(first)),
    eventLast: large(event(last, 'event: message\r\nid: 7\r\ndata:', '\r\n\r\n')),
    lines: large(event(first, ': a comment\n\nevent: other\ndata: {}\n\ndata: ', '\nid: 8\ndata:\n\n')),
    // Its blank line never comes.
    open: large(event(first, 'data: ', '')),
  });
  for (const name of ['first', 'last', 'spaced', 'gzip', 'event', 'eventLast', 'lines', 'open']) {
    const response = await ask(one, name, {});
    expect(response.headers).toMatchObject(IN_PIECES);
    expect({ name, ...(await read(response)) }).toEqual({ name, ...whole('"a"', RESULT) });
  }
});

test('one that breaks off, or is no answer of its call, never ends as if it were whole', async () => {
  const one = await client({
    cut: large(first, PARTS, 'destroy'),
    noJson: large((id) => [first(id)[0], '"}]]}']),
    foreign: large(() => last(4711)),
    twice: large((id) => [first(id)[0], `${CLOSE},"result":{}}`]),
    eventCut: large(event(first), PARTS, 'destroy'),
    eventEnds: large((id) => [event(first)(id)[0], '']),
    eventMore: large(event(first, 'data: ', '\ndata: {}\n\n')),
    otherEvent: large(event(first, 'data: ', '\nevent: other\n\n')),
  });
  for (const name of ['cut', 'noJson', 'foreign', 'twice', 'eventCut', 'eventEnds', 'eventMore', 'otherEvent']) {
    const response = await ask(one, name, {});
    expect(response.headers).toMatchObject(IN_PIECES);
    expect({ name, ...(await read(response)) }).toMatchObject({ name, complete: false });
  }
  expect(await one.call('tools/call', { name: 'echo', arguments: { text: 'after' } })).toHaveProperty('result');
});

test('an answer in an array, and one that fails, come whole; one in an event of two lines comes in pieces', async () => {
  const one = await client({
    array: large((id) => [`[${first(id)[0]}`, `${first(id)[1]}]`]),
    failed: large((id) => [`{"jsonrpc":"2.0","id":${id},"error":{"code":7,"message":"`, '"}}']),
    eventArray: large(event((id) => [`[${first(id)[0]}`, `${first(id)[1]}]`] as const)),
    twoLines: large(event((id) => [`{"jsonrpc":"2.0",\ndata: ${first(id)[0].slice(17)}`, first(id)[1]] as const)),
  });
  for (const name of ['array', 'eventArray', 'twoLines']) {
    const response = await ask(one, name, {});
    expect({ name, whole: isWhole(response) }).toEqual({ name, whole: name !== 'twoLines' });
    expect(await read(response)).toEqual(whole('"a"', RESULT));
  }
  const failed = await one.call('tools/call', { name: 'failed', arguments: {} });
  expect(failed.error).toMatchObject({ code: 7, message: PART.repeat(PARTS) });
});

test.each([
  ['JSON', first],
  ['an event', event(first)],
])(
  'a client that does not read %s holds up its own answer, and no call of another, also one that waits for its slot',
  async (_kind, make) => {
    const one = await client({ large: large(make, 900) }, { maxConcurrent: 1 });
    const slow = await ask(one, 'large', {});
    const seen: number[] = [];
    await expect.poll(() => seen.push(written) > 1 && seen.at(-1) === seen.at(-2), { interval: 100 }).toBe(true);
    // What the sockets hold on both ways, and the window.
    expect(written).toBeLessThan(600);
    const echo = await one.call('tools/call', { name: 'echo', arguments: { text: 'meanwhile' } });
    expect(echo).toMatchObject({ result: { content: [{ text: 'meanwhile' }] } });
    expect(await read(slow)).toEqual(whole('"a"', `${OPEN}${PART.repeat(900)}${CLOSE}`));
  },
);
