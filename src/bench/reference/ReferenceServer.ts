import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { MessageTooLargeError } from '../../core/errors.js';
import { checkText } from '../../core/options.js';
import { packageVersion } from '../../core/version.js';
import { afterExactly, SERVICE_META, type ServiceTime, serviceTime } from './serviceTime.js';

interface Message {
  readonly id?: unknown;
  readonly method?: unknown;
  readonly params?: { readonly [name: string]: unknown } | null;
}

/** The longest line or body that it takes, as the pools do. */
const MAX_MESSAGE_LENGTH = 64 * 2 ** 20;

const TOOLS = [
  {
    name: 'echo',
    description: 'Answers with its text, after the service time.',
    inputSchema: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
  },
];

/**
 * The upstream whose own time is known: an MCP server (2025-11-25 and earlier) with one tool, `echo`, that answers after a
 * service time, at once with other calls, and says in each answer how long it took. Over stdio or Streamable HTTP with JSON answers.
 */
export class ReferenceServer {
  readonly #next: ServiceTime;

  /** @param service `none`, `fixed:MS`, `uniform:MIN:MAX`, `exponential:MEAN` or `stall:MS:EVERY`. @throws OptionError */
  constructor(service = 'none') {
    this.#next = serviceTime(checkText('service', service));
  }

  /** Serves line by line until `input` ends. */
  async serveStdio(input: Readable, output: Writable): Promise<void> {
    let rest: string[] = [];
    let out = '';
    // Answers to the lines of one read leave in one write.
    const send = (line: string): void => {
      if (out === '') {
        queueMicrotask(() => {
          output.write(out);
          out = '';
        });
      }
      out += `${line}\n`;
    };
    input.setEncoding('utf8');
    let length = 0;
    for await (const chunk of input as AsyncIterable<string>) {
      const lines = chunk.split('\n');
      length = (lines.length > 1 ? 0 : length) + (lines.at(-1)?.length ?? 0);
      if (length > MAX_MESSAGE_LENGTH)
        throw new MessageTooLargeError('reference', 'incoming', length, MAX_MESSAGE_LENGTH);
      rest.push(lines[0] ?? '');
      for (let i = 1; i < lines.length; i++) {
        this.#read(rest.join(''), send);
        rest = [lines[i] ?? ''];
      }
    }
  }

  /** Serves `POST` on any path. `port` 0 takes a free one. @returns the listening server; its owner closes it. */
  async serveHttp(port = 0): Promise<Server> {
    const server = createServer((request, response) => {
      this.#serveRequest(request, response).catch(() => response.destroy());
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return server;
  }

  async #serveRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_MESSAGE_LENGTH) return void response.writeHead(413, { connection: 'close' }).end();
      chunks.push(chunk);
    }
    if (request.method !== 'POST') return void response.writeHead(405, { allow: 'POST' }).end();
    const body = Buffer.concat(chunks).toString();
    let answered = false;
    const expects = this.#read(body, (line) => {
      answered = true;
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(line) });
      response.end(line);
    });
    if (!expects && !answered) response.writeHead(202).end();
  }

  /** @returns whether an answer comes */
  #read(text: string, send: (line: string) => void): boolean {
    if (text.trim() === '') return false;
    const gotMs = performance.now();
    let message: Message | null;
    try {
      message = JSON.parse(text) as Message | null;
    } catch {
      send(`{"jsonrpc":"2.0","id":null,"error":{"code":${RPC_CODES.parseError},"message":"not JSON"}}`);
      return true;
    }
    const { id, method } = message ?? {};
    if (id === undefined || method === undefined) return false;
    if ((typeof id !== 'string' && typeof id !== 'number') || typeof method !== 'string') {
      send(`{"jsonrpc":"2.0","id":null,"error":{"code":${RPC_CODES.invalidRequest},"message":"no request"}}`);
      return true;
    }
    const params = message?.params ?? {};
    const answer = (body: object): void => send(JSON.stringify({ jsonrpc: '2.0', id, ...body }));
    if (method === 'tools/call') this.#call(params, gotMs, answer);
    else if (method === 'initialize') {
      const { protocolVersion } = params;
      const serverInfo = { name: 'mcp-poolkit-reference', version: packageVersion() };
      const version = typeof protocolVersion === 'string' ? { protocolVersion } : {};
      answer({ result: { ...version, capabilities: { tools: {} }, serverInfo } });
    } else if (method === 'tools/list') answer({ result: { tools: TOOLS } });
    else if (method === 'ping') answer({ result: {} });
    else answer({ error: { code: RPC_CODES.methodNotFound, message: `no method ${method}` } });
    return true;
  }

  #call(params: Readonly<Record<string, unknown>>, gotMs: number, answer: (body: object) => void): void {
    const text = (params['arguments'] as { text?: unknown } | null | undefined)?.text;
    if (params['name'] !== 'echo' || typeof text !== 'string') {
      answer({ error: { code: RPC_CODES.invalidParams, message: 'expected tool echo with a text' } });
      return;
    }
    const reply = (): void => {
      const content = [{ type: 'text', text }];
      answer({ result: { content, _meta: { [SERVICE_META]: performance.now() - gotMs } } });
    };
    const ms = this.#next();
    if (ms === 0) reply();
    else afterExactly(ms, reply);
  }
}

/** The URL of a reference server over HTTP. */
export function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}
