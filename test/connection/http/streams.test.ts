import { expect, test } from 'vitest';
import type { ServerNotice } from '../../../src/connection/protocol/messages.js';
import { OutcomeUnknownError, RequestTimeoutError } from '../../../src/core/errors.js';
import { call, failure, serve } from '../../support/rawCalls.js';
import { type Exchange, said } from '../../support/rawServer.js';

const notice = (data: unknown): object => ({ jsonrpc: '2.0', method: 'notifications/message', params: { data } });
const result = ({ message }: Exchange, text: string): object => ({
  jsonrpc: '2.0',
  id: message.id,
  result: said(text),
});

test('what comes on a call’s stream belongs to that call, and empty data is no garbage', async () => {
  const { connection } = await serve({
    talk: (exchange) => {
      exchange.sse();
      exchange.event('', 'e0');
      exchange.event(notice(exchange.message.params.arguments.who));
      exchange.res.write(': a comment\n\nevent: other\ndata: {"not":"ours"}\n\ndata: not json\n\n');
      exchange.event(result(exchange, 'done'), 'e1');
      exchange.res.end();
    },
  });
  const orphans: ServerNotice[] = [];
  connection.onNotification((each) => orphans.push(each));
  const heard: Record<string, unknown[]> = { a: [], b: [], c: [] };
  await Promise.all(
    ['a', 'b', 'c'].map((who) =>
      call(connection, 'talk', { who }, { onNotification: ({ params }) => heard[who]?.push(params?.['data']) }),
    ),
  );
  expect(heard).toEqual({ a: ['a'], b: ['b'], c: ['c'] });
  expect(orphans).toEqual([]);
  expect(connection.counters).toMatchObject({ garbage: 3, lateReplies: 0 });
});

test('progress carries the caller’s own token, and starts the timeout anew where it should', async () => {
  const { connection } = await serve({
    work: async (exchange) => {
      const { progressToken } = exchange.message.params._meta;
      exchange.sse();
      for (let progress = 1; progress <= 12; progress++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        exchange.event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress } });
      }
      exchange.event(result(exchange, 'worked'));
      exchange.res.end();
    },
  });
  const seen: unknown[] = [];
  const answer = connection.request(
    'tools/call',
    { name: 'work', _meta: { progressToken: 'mine' } },
    { timeoutMs: 400, resetTimeoutOnProgress: true, onProgress: (each) => seen.push(each) },
  );
  expect(await answer).toEqual(said('worked'));
  expect(seen).toEqual(Array.from({ length: 12 }, (_, i) => ({ progressToken: 'mine', progress: i + 1 })));
});

test('a stream that ends without its answer fails the call at once', async () => {
  const { connection } = await serve({
    ends: ({ sse, res, event }) => {
      sse();
      event(notice('soon'));
      res.end();
    },
    halfAnEvent: (exchange) => {
      exchange.sse();
      exchange.res.end(`data: ${JSON.stringify(result(exchange, 'never whole')).slice(0, -1)}\n`);
    },
    cut: ({ sse, res, event }) => {
      sse();
      event(notice('soon'));
      setImmediate(() => res.destroy());
    },
  });
  for (const name of ['ends', 'halfAnEvent', 'cut']) {
    expect(await failure(call(connection, name))).toMatchObject({ constructor: OutcomeUnknownError, acted: 'perhaps' });
  }
});

test('a stream that gave an event id is resumed after `retry`, however it ended', async () => {
  const resumed: Record<string, (exchange: Exchange) => void> = {};
  const part =
    (cut: boolean) =>
    (exchange: Exchange): void => {
      exchange.sse();
      const key = `${exchange.message.params.name}-1`;
      exchange.res.write(`retry: 10\nid: ${key}\ndata:\n\n`);
      resumed[key] = ({ sse, event, res }) => {
        sse();
        event(notice('resumed'), `${key}-2`);
        res.end();
      };
      resumed[`${key}-2`] = ({ sse, event, res }) => {
        sse();
        event(result(exchange, 'at last'), `${key}-3`);
        res.end();
      };
      if (cut) setImmediate(() => exchange.res.destroy());
      else exchange.res.end();
    };
  const { server, connection } = await serve(
    { ends: part(false), cut: part(true) },
    {
      get: (exchange) => {
        const resume = resumed[String(exchange.headers['last-event-id'])];
        if (resume === undefined) exchange.res.writeHead(405).end();
        else resume(exchange);
      },
    },
  );
  for (const name of ['ends', 'cut']) {
    const heard: ServerNotice[] = [];
    expect(await call(connection, name, {}, { onNotification: (each) => heard.push(each) })).toEqual(said('at last'));
    expect(heard).toHaveLength(1);
  }
  expect(server.of('tools/call')).toHaveLength(2);
});

test('a stream that cannot be resumed leaves its outcome unknown, and resuming ends with the call', async () => {
  const { server, connection } = await serve(
    {
      refused: ({ sse, res }) => {
        sse();
        res.end('retry: 5\nid: no\ndata:\n\n');
      },
      inVain: ({ sse, res }) => {
        sse();
        res.end('retry: 5\nid: empty\ndata:\n\n');
      },
      later: ({ sse, res }) => {
        sse();
        res.end('retry: 60000\nid: later\ndata:\n\n');
      },
    },
    {
      get: ({ headers, res, sse }) => {
        if (headers['last-event-id'] !== 'empty') res.writeHead(405).end();
        else {
          sse();
          res.end();
        }
      },
    },
  );
  expect(await failure(call(connection, 'refused'))).toBeInstanceOf(OutcomeUnknownError);
  expect(await failure(call(connection, 'inVain'))).toBeInstanceOf(OutcomeUnknownError);
  expect(server.seen.filter((each) => each.headers['last-event-id'] === 'empty')).toHaveLength(3);
  expect(await failure(call(connection, 'later', {}, { timeoutMs: 50 }))).toBeInstanceOf(RequestTimeoutError);
});

test('events may end in CRLF or CR, and ten thousand may come in one chunk', async () => {
  const { connection } = await serve({
    endings: (exchange) => {
      const { end } = exchange.message.params.arguments;
      exchange.sse();
      const lines = [
        `data: ${JSON.stringify(notice('first'))}`,
        '',
        'id: 7',
        `data: ${JSON.stringify(result(exchange, 'ok'))}`,
      ];
      // The stream stays open: the answer must not wait for what follows its last line's end.
      exchange.res.write(`${lines.join(end)}${end}${end}`);
    },
    many: (exchange) => {
      exchange.sse();
      const events = Array.from({ length: 10_000 }, (_, i) => `data: ${JSON.stringify(notice(i))}\n\n`);
      exchange.res.end(`${events.join('')}data: ${JSON.stringify(result(exchange, 'all'))}\n\n`);
    },
  });
  for (const end of ['\r\n', '\r', '\n']) {
    expect(await call(connection, 'endings', { end }, { timeoutMs: 2_000 })).toEqual(said('ok'));
  }
  const heard: unknown[] = [];
  const onNotification = ({ params }: ServerNotice): void => void heard.push(params?.['data']);
  expect(await call(connection, 'many', {}, { onNotification })).toEqual(said('all'));
  expect(heard).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
});

test('raw calls get the bytes of their result, of JSON and of events', async () => {
  const text = (id: number): string => `{"jsonrpc":"2.0","id":${id},"result":{"n":12345678901234567890}}`;
  const { connection } = await serve({
    json: ({ res, message }) =>
      void res.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(text(message.id)),
    events: ({ sse, event, message, res }) => {
      sse();
      event(notice('first'));
      event(text(message.id));
      res.end();
    },
  });
  for (const name of ['json', 'events']) {
    const bytes = (await call(connection, name, {}, { raw: true })) as Uint8Array;
    expect(Buffer.from(bytes).toString()).toBe('{"n":12345678901234567890}');
  }
});

test('a stream that stays open after its answer is let go of', async () => {
  let closed = false;
  const { connection } = await serve({
    lingers: (exchange) => {
      exchange.sse();
      exchange.event(result(exchange, 'here'));
      exchange.res.on('close', () => {
        closed = true;
      });
    },
  });
  expect(await call(connection, 'lingers')).toEqual(said('here'));
  await expect.poll(() => closed, { timeout: 3_000 }).toBe(true);
});

test('an answer that comes twice, or for nobody, is counted', async () => {
  const { connection } = await serve({
    twice: (exchange) => {
      exchange.sse();
      exchange.event({ jsonrpc: '2.0', id: 999_999, result: {} });
      const bytes = `data: ${JSON.stringify(result(exchange, 'once'))}\n\n`;
      exchange.res.end(bytes + bytes);
    },
  });
  expect(await call(connection, 'twice')).toEqual(said('once'));
  expect(connection.counters.garbage).toBe(1);
});
