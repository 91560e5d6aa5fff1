import type { Connection } from '../../src/connection/Connection.js';
import { UnifiedPool } from '../../src/pool/index.js';
import { fakeServer } from '../../src/testing/fake/FakeServer.js';
import type { FaultPlan } from '../../src/testing/faults/FaultPlan.js';
import { faulty } from '../../src/testing/faulty.js';
import { FaultProxy } from '../../src/testing/proxy/FaultProxy.js';
import { closeAfter } from './closeAfter.js';
import { type FaultCase, type FaultOutcome, planOf, runCase } from './faultRuns.js';

/** The fault in the server itself, in a proxy in front of it, or in a wrapped connection. */
export type FaultMode = 'wire' | 'proxy' | 'faulty';

export interface UrlWay {
  readonly transport: 'http' | 'sse';
  readonly era: 'legacy' | 'modern';
}

/** The server's URL with the plan in it, in front of it, or nowhere; and the server. */
export async function faultyUrl(plan: FaultPlan, mode: FaultMode, { transport, era }: UrlWay) {
  const server = closeAfter(fakeServer({ name: 's', era, ...(mode === 'wire' && { plan }) }));
  const { url, sseUrl } = await server.listen();
  const own = transport === 'sse' ? sseUrl : url;
  if (mode !== 'proxy') return { server, url: own };
  const proxy = closeAfter(await FaultProxy.listen({ upstream: own, name: 's', plan }));
  return { server, url: proxy.url };
}

/** Runs one case by URL. */
export async function runUrl(given: FaultCase, mode: FaultMode, way: UrlWay): Promise<FaultOutcome> {
  const plan = planOf(given);
  const { server, url } = await faultyUrl(plan, mode, way);
  const connections: Connection[] = [];
  const pool = closeAfter(
    new UnifiedPool({
      ledger: false,
      stableAfterMs: 0,
      backoff: given.fault === 'refuse' ? { initialMs: 60_000 } : { initialMs: 1, maxMs: 1 },
      maxMessageBytes: 2 ** 20,
      healthIntervalMs: Number.POSITIVE_INFINITY,
      wrapConnection: async (made) => {
        const connection = mode === 'faulty' ? await faulty(made, plan) : made;
        connections.push(connection);
        return connection;
      },
    }),
  );
  pool.addServer({ name: 's', url, ...way });
  return runCase(pool, connections, () => server.events, given);
}
