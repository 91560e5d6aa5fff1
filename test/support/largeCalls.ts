import { createHash } from 'node:crypto';
import { type IncomingMessage, request } from 'node:http';
import type { RawClient } from './httpClient.js';

/** The response to a call of a tool, its body not read. */
export function ask(
  client: RawClient,
  name: string,
  args: object,
  id: string | number = 'a',
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request(client.url, { method: 'POST', headers: client.headers, agent: false }, resolve);
    outgoing.on('error', reject);
    outgoing.end(JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } }));
  });
}

export interface LargeBody {
  /** Whether it came to its end. */
  readonly complete: boolean;
  readonly bytes: number;
  readonly hash: string;
}

/** A response's body, read and not kept. */
export async function read(response: IncomingMessage): Promise<LargeBody> {
  const hash = createHash('sha256');
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  response.on('error', () => undefined);
  await new Promise<void>((done) => response.once('close', () => done()));
  return { complete: response.complete, bytes, hash: hash.digest('hex') };
}

/** The same of a whole answer: a result's JSON under an id's. */
export function whole(idText: string, resultText: string): LargeBody {
  const json = `{"jsonrpc":"2.0","id":${idText},"result":${resultText}}`;
  return { complete: true, bytes: Buffer.byteLength(json), hash: createHash('sha256').update(json).digest('hex') };
}

/** Headers of a response in pieces, and of one that was held until it was whole. */
export const IN_PIECES = { 'transfer-encoding': 'chunked', 'content-type': 'application/json' } as const;
export const isWhole = ({ headers }: IncomingMessage): boolean => Number(headers['content-length']) > 1_000_000;
