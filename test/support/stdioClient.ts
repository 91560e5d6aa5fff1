import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import type { Gateway } from '../../src/gateway/Gateway.js';
import { StdioBridge } from '../../src/gateway/stdio/StdioBridge.js';
import type { Message } from './httpClient.js';

export const FRONTS = ['serve --stdio', 'connect'] as const;

const INIT = { protocolVersion: '2025-11-25', capabilities: { sampling: {} }, clientInfo: { name: 'c', version: '1' } };

/** A client, which can be asked, of the gateway's endpoint at `url` over the pipes of that front. */
export async function stdioClient(
  front: (typeof FRONTS)[number],
  gateway: Gateway,
  url: string,
  maxMessageBytes = 1e6,
) {
  const [input, output] = [new PassThrough(), new PassThrough({ encoding: 'utf8' })];
  const bounds = { maxMessageBytes, maxStreamBufferBytes: 1e6, maxBufferedBytes: 1e7, stallTimeoutMs: 30_000 };
  const over =
    front === 'connect'
      ? new StdioBridge({ input, output, url: new URL(url), graceMs: 30_000, ...bounds }).run()
      : gateway.serveStdio({ input, output, path: new URL(url).pathname, graceMs: 30_000 });
  const lines = createInterface({ input: output })[Symbol.asyncIterator]();
  const said = async (): Promise<Message> => JSON.parse((await lines.next()).value ?? '');
  const send = (message: object): boolean => input.write(`${JSON.stringify(message)}\n`);
  const end = async (): Promise<void> => {
    input.end();
    await over;
  };
  send({ jsonrpc: '2.0', id: 1, method: 'initialize', params: INIT });
  await said();
  return { send, said, end };
}
