import { RawSocket } from './tcp.js';

const CHUNKED = /transfer-encoding: chunked/i;

/** What a socket has read, one character a byte, as UTF-8. */
export const utf8 = (raw: string): string => Buffer.from(raw, 'latin1').toString('utf8');

/** Puts a JSON-RPC message on a socket of its own. */
export function postTo(port: number, message: object, headers: readonly string[] = []): RawSocket {
  const body = JSON.stringify({ jsonrpc: '2.0', ...message });
  const socket = new RawSocket(port);
  const head = ['POST /mcp HTTP/1.1', 'host: 127.0.0.1', 'content-type: application/json', ...headers];
  socket.send(`${head.join('\r\n')}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  return socket;
}

export interface RawResponse {
  readonly status: number;
  readonly headers: string;
  /** Chunks joined, as UTF-8. */
  readonly body: string;
  readonly bytes: Buffer;
}

/** The response in what a socket has read; undefined while its end is missing. */
export function responseIn(raw: string): RawResponse | undefined {
  const until = raw.indexOf('\r\n\r\n');
  if (until < 0) return undefined;
  const headers = raw.slice(0, until);
  const rest = raw.slice(until + 4);
  const length = /content-length: (\d+)/i.exec(headers)?.[1];
  if (!CHUNKED.test(headers) && rest.length < Number(length ?? 0)) return undefined;
  if (CHUNKED.test(headers) && !/(^|\r\n)0\r\n\r\n$/.test(rest)) return undefined;
  const bytes = Buffer.from(CHUNKED.test(headers) ? joined(rest) : rest, 'latin1');
  return { status: Number(headers.split(' ')[1]), headers, body: bytes.toString('utf8'), bytes };
}

/** The chunks of a transfer, joined. */
export function joined(chunks: string): string {
  let all = '';
  for (let at = 0; at < chunks.length; ) {
    const line = chunks.indexOf('\r\n', at);
    const size = Number.parseInt(chunks.slice(at, line), 16);
    if (!(size > 0)) break;
    all += chunks.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
  }
  return all;
}
