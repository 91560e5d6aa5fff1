import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { readStatus } from '../../../src/cli/status/readStatus.js';
import { HttpLink } from '../../../src/gateway/stdio/HttpLink.js';
import { textOf } from '../../../src/gateway/stdio/readResponse.js';
import { FaultProxy } from '../../../src/testing/proxy/FaultProxy.js';
import { closeAfter } from '../../support/closeAfter.js';
import { failure } from '../../support/rawCalls.js';

/** What Node's client takes without a word and without a bound: `connect`, `status` and `fault` end it. */

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n';
const SILENT = /bytes of it are neither header nor body/;
const ENDLESS: readonly (readonly [string, string, string, RegExp])[] = [
  ['empty lines without end before the status line', '', '\r\n', SILENT],
  ['interim responses without end', '', 'HTTP/1.1 102 Processing\r\n\r\n', /interim responses in a second/],
  ['zeros without end before the size of a chunk', HEAD, '0', SILENT],
  [
    'another protocol',
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
    '',
    /changes the protocol/,
  ],
  ['ever more small chunks with long extensions', HEAD, `1;${'e'.repeat(5_000)}\r\n \r\n`, SILENT],
];

/** A server that answers so, without end where there is `more`. */
async function answering(first: string, more: string): Promise<URL> {
  const sockets = new Set<Socket>();
  const block = more.repeat(Math.ceil(65_536 / Math.max(1, more.length)));
  const server = createServer((socket) => {
    sockets.add(socket);
    const flood = (): void => {
      while (more !== '' && !socket.destroyed && socket.write(block));
    };
    socket.on('error', () => undefined).on('drain', flood);
    socket.once('data', () => {
      socket.write(first);
      flood();
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closeAfter({
    close: async () => {
      for (const each of sockets) each.destroy();
      await once(server.close(), 'close');
    },
  });
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
}

async function asked(url: URL): Promise<string> {
  using link = new HttpLink({ url });
  return await textOf(await link.request({ method: 'GET' }), link.incoming);
}

test.each(ENDLESS)('%s: the answer broke off, with the reason', async (_, first, more, why) => {
  const url = await answering(first, more);
  expect(await failure(asked(url))).toMatchObject({ message: expect.stringMatching(why) });
  expect(await failure(readStatus({ url: url.href }))).toMatchObject({ message: expect.stringMatching(why) });
  const proxy = closeAfter(await FaultProxy.listen({ upstream: url.href }));
  const [response] = await once(request(proxy.url).end(), 'response').catch((error: unknown) => [error]);
  // A head that came was passed on: then it is cut.
  if (first !== HEAD) expect(response.resume().statusCode).toBe(502);
  else expect(await failure(once(response.resume(), 'end'))).toMatchObject({ message: 'aborted' });
});

test('an answer in chunks of one byte is one', async () => {
  const length = 100_000;
  const url = await answering(`${HEAD}${'1\r\nx\r\n'.repeat(length)}0\r\n\r\n`, '');
  expect(await asked(url)).toBe('x'.repeat(length));
});
