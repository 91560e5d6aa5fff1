import type { RequestOptions } from '../../src/pool/McpPool.js';
import { UnifiedPool, type UnifiedPoolOptions } from '../../src/pool/UnifiedPool.js';
import type { SeveralServersConfig } from '../../src/registry/config/ServerConfig.js';
import { type FakeServer, type FakeServerOptions, fakeServer } from '../../src/testing/index.js';
import { closeAfter } from './closeAfter.js';
import { said } from './stdioPool.js';

export interface Upstream {
  readonly name: string;
  readonly url: string;
  /** Over the older HTTP+SSE. */
  readonly sseUrl: string;
  readonly server: FakeServer;
  /** Calls that it ran, by name of the tool. */
  readonly ran: (tool?: string) => number;
  readonly close: () => Promise<void>;
}

/** A server over HTTP whose tool `who` says which it is. */
export async function upstream(name: string, options: FakeServerOptions = {}, port = 0): Promise<Upstream> {
  const server = closeAfter(
    fakeServer({ name, tools: { who: { text: name }, echo: {}, slow: { text: name, serviceMs: 60_000 } }, ...options }),
  );
  const http = await server.listen({ port });
  const ran = (tool?: string): number =>
    server.events.filter(
      (each) => each.type === 'effect' && each.phase === 'begin' && (tool === undefined || each.tool === tool),
    ).length;
  return { name, url: http.url, sseUrl: http.sseUrl, server, ran, close: () => server.close({ graceMs: 0 }) };
}

/** Closed at the end of the test. */
export const pool = (options: UnifiedPoolOptions = {}): UnifiedPool => closeAfter(new UnifiedPool(options));

export const several = (
  targets: SeveralServersConfig['targets'],
  settings: Partial<SeveralServersConfig> = {},
): SeveralServersConfig => ({ name: 'app', targets, ...settings });

export const who = (of: UnifiedPool, options: RequestOptions = {}): Promise<string> =>
  said(of.request('app', 'tools/call', { name: 'who' }, options));

export const many = async (count: number, run: () => Promise<string>): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const name = await run();
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
};

export const idempotent = { idempotent: true } as const;
