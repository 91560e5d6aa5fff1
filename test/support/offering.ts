import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { closeAfter } from './closeAfter.js';
import { EventReader, RawClient } from './httpClient.js';
import { fixture } from './servers.js';

interface Offer {
  readonly uris?: readonly string[];
  readonly templates?: readonly string[];
  readonly tools?: readonly object[];
  readonly bad?: 'resources' | 'item' | 'silent';
  readonly after?: string;
}

/** A gateway before servers that offer that. */
export async function house(offers: Readonly<Record<string, Offer>>, options: Partial<GatewayOptions> = {}) {
  const pool = closeAfter(new StdioPool({ ledger: false }));
  for (const [name, offer] of Object.entries(offers)) {
    const args = [fixture('offering.mjs'), JSON.stringify({ name, ...offer })];
    pool.addServer({ name, transport: 'stdio', command: process.execPath, args });
  }
  const gateway = closeAfter(new Gateway({ pool, port: 0, ...options }));
  const url = `${(await gateway.listen()).url}/mcp`;
  const connect = async (): Promise<RawClient> => {
    const client = new RawClient(url);
    await client.initialize('2025-11-25', { extensions: { 'io.modelcontextprotocol/ui': {} } });
    return client;
  };
  return { url, connect, pool };
}

export const listen = async (client: RawClient): Promise<EventReader> => {
  const stream = await client.listen();
  closeAfter({ close: () => stream.stop() });
  return stream;
};

export const listed = async (client: RawClient, method: string, kind: string, key: string): Promise<unknown[]> => {
  const keys: unknown[] = [];
  for (let cursor: unknown; ; ) {
    const { result = {} } = await client.call(method, cursor === undefined ? {} : { cursor });
    keys.push(...(result[kind] as Record<string, unknown>[]).map((item) => item[key]));
    cursor = result['nextCursor'];
    if (cursor === undefined) return keys;
  }
};
export const uris = (client: RawClient) => listed(client, 'resources/list', 'resources', 'uri');
export const read = async (client: RawClient, uri: string) =>
  (
    (await client.call('resources/read', { uri })).result?.['contents'] as { uri: string; text: string }[] | undefined
  )?.[0];

/** A request of the modern era that is yet to be sent. */
export function modern(
  url: string,
  method: string,
  params: { readonly name?: string; readonly uri?: string },
  logLevel?: string,
) {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
    ...(logLevel && { 'io.modelcontextprotocol/logLevel': logLevel }),
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: meta } });
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...((params.name ?? params.uri) && { 'mcp-name': params.name ?? params.uri }),
  };
  return { outgoing: request(url, { method: 'POST', headers, agent: false }), body };
}

/** A subscription of the modern era. */
export async function listening(url: string, notifications: object): Promise<EventReader> {
  const { outgoing, body } = modern(url, 'subscriptions/listen', { notifications } as object);
  outgoing.end(body);
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  const stream = new EventReader(incoming.setEncoding('utf8'));
  closeAfter({ close: () => stream.stop() });
  return stream;
}
