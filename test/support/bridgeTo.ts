import { once } from 'node:events';
import {
  createServer,
  Server as HttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { PassThrough } from 'node:stream';
import { HttpLink } from '../../src/gateway/stdio/HttpLink.js';
import { StdioBridge } from '../../src/gateway/stdio/StdioBridge.js';
import type { StdioBridgeOptions } from '../../src/gateway/stdio/StdioBridgeOptions.js';

export const STREAM = { 'content-type': 'text/event-stream' };
const META = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' };

export function deferred<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** A bridge between a client, whose lines these are, and a gateway of any kind. */
export async function bridgeTo(server: Server, more: Partial<StdioBridgeOptions> & { maxIncomingBytes?: number } = {}) {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const input = new PassThrough();
  const output = new PassThrough({ encoding: 'utf8' });
  const bounds = {
    maxMessageBytes: 1e6,
    maxStreamBufferBytes: 1e6,
    maxBufferedBytes: 1e6,
    stallTimeoutMs: 30_000,
    graceMs: 0,
  };
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const { maxIncomingBytes, ...options } = more;
  const link = new HttpLink({ url, ...(maxIncomingBytes && { maxIncomingBytes }) });
  const over = new StdioBridge({ input, output, url, link, ...bounds, ...options }).run();
  const lines: { id: unknown; result?: unknown; error?: { code: number; message: string } }[] = [];
  let rest = '';
  output.on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) lines.push(JSON.parse(part));
    output.emit('lines');
  });
  const answered = async (count: number): Promise<typeof lines> => {
    while (lines.length < count) await once(output, 'lines');
    return lines;
  };
  const send = (...messages: object[]): void => {
    for (const each of messages) input.write(`${JSON.stringify(each)}\n`);
  };
  const end = async (): Promise<void> => {
    input.end();
    await over;
    await new Promise((resolve) => {
      server.close(resolve);
      if (server instanceof HttpServer) server.closeAllConnections();
    });
  };
  return { lines, answered, send, input, link, end };
}

type Answer = (
  res: ServerResponse,
  message: { id: number; method: string; params?: Readonly<Record<string, unknown>> },
  req: IncomingMessage,
) => void;

export const gateway = (answer: Answer): Server => {
  const listener: RequestListener = async (req, res) => answer(res, JSON.parse((await textOf(req)) || '{}'), req);
  return createServer((req, res) => void listener(req, res));
};

async function textOf(req: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of req) text += chunk;
  return text;
}

export const request = (id: number, method = 'tools/list', params = {}): object => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
});
export const modern = (id: number, method = 'tools/list', params = {}): object =>
  request(id, method, { ...params, _meta: META });
export const answerTo = (id: number | string, result: unknown = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', id, result });
