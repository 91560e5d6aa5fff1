import { Gateway } from '../../../../src/gateway/Gateway.js';
import { StdioPool } from '../../../../src/pool/StdioPool.js';
import { RawClient } from '../../../support/httpClient.js';
import { differences } from '../clients/compare.js';
import { fieldsIn, INITIALIZE, observe, type Seen } from './observe.js';
import type { RealServer, Started } from './SERVERS.js';
import { StdioTalk } from './StdioTalk.js';

export type Sharing = 'shared' | 'bound';

export interface ServerReport {
  readonly server: RealServer;
  readonly seen: Seen;
  readonly fields: number;
  /** By sharing mode, what differs. */
  readonly differs: Readonly<Record<Sharing, readonly string[]>>;
  /** Fields that are not the same straight, either, from one process to the next. */
  readonly unsteady: readonly string[];
}

/** A client of its own process. */
export async function straight(server: RealServer, start: Started): Promise<Seen> {
  const talk = new StdioTalk(start);
  try {
    const initialized = await talk.call('initialize', INITIALIZE);
    talk.notify('notifications/initialized');
    return await observe(server, initialized, (method, params) => talk.call(method, params));
  } finally {
    await talk.close();
  }
}

/** A client of the gateway before the server. */
export async function through(server: RealServer, start: Started, sharing: Sharing): Promise<Seen> {
  const pool = new StdioPool({ ledger: false });
  pool.addServer({ name: 'real', transport: 'stdio', ...start, sharing });
  const gateway = new Gateway({ pool, port: 0 });
  try {
    const client = new RawClient(`${(await gateway.listen()).url}/servers/real/mcp`);
    const initialized = await client.initialize('2025-11-25', {});
    return await observe(server, initialized, (method, params) =>
      client.call(method, params as Record<string, unknown>),
    );
  } finally {
    await gateway.close({ graceMs: 0 });
    await pool.close({ graceMs: 0 });
  }
}

/** All differences. `twice`: straight is run two times, so that what changes by itself is not taken for one. */
export async function compareServer(server: RealServer, start: Started, twice: boolean): Promise<ServerReport> {
  const first = await straight(server, start);
  const unsteady = twice ? differences(first, await straight(server, start)) : [];
  const paths = new Set(unsteady.map(pathOf));
  const differs = async (sharing: Sharing): Promise<string[]> =>
    differences(first, await through(server, start, sharing)).filter((each) => !paths.has(pathOf(each)));
  return {
    server,
    seen: first,
    fields: fieldsIn(first),
    differs: { shared: await differs('shared'), bound: await differs('bound') },
    unsteady,
  };
}

const pathOf = (difference: string): string => difference.split(': ')[0] ?? '';
