import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { Gateway } from '../../../../src/gateway/Gateway.js';
import { StdioBridge } from '../../../../src/gateway/stdio/StdioBridge.js';
import type { Authenticate } from '../../../../src/gateway/users/Authenticate.js';
import type { McpPool } from '../../../../src/pool/McpPool.js';
import { UnifiedPool, type UnifiedPoolOptions } from '../../../../src/pool/UnifiedPool.js';
import type { ServerConfig } from '../../../../src/registry/config/ServerConfig.js';
import { closeHttpServer } from '../../../../src/shutdown/closeHttpServer.js';
import { check } from '../../../../src/testing/history/check.js';
import { History } from '../../../../src/testing/history/History.js';
import type { Verdict } from '../../../../src/testing/history/Verdict.js';
import { FileCache } from '../../../../src/toolstore/FileCache.js';
import { closeAfter } from '../../../support/closeAfter.js';
import { Program } from '../../../support/program.js';
import { fixture } from '../../../support/servers.js';
import { tempFolder } from '../../../support/tempFolder.js';
import { Ledger, type Owners } from './Ledger.js';
import { httpLine, sseLine, stdioLine } from './lines.js';
import { Neighbour, type NeighbourOptions } from './Neighbour.js';

type Sharing = 'shared' | 'leased' | 'bound';

/** A server of the street: by which transport, in which era, shared how. */
export interface House {
  readonly transport: 'stdio' | 'http' | 'sse';
  readonly sharing: Sharing;
  readonly era?: 'modern';
}

/** How a client reaches the gateway; `all` is the aggregate. */
export const FRONTS = [
  'http',
  'modern',
  'stdio',
  'fetch',
  'handler',
  'sse',
  'all',
  'modern-all',
  'modern-fetch',
] as const;
export type Front = (typeof FRONTS)[number];

export interface StreetOptions {
  readonly houses: readonly House[];
  readonly users: readonly string[];
  readonly nameless: number;
  /** What stands between the pool and the gateway. */
  readonly between?: (pool: McpPool) => McpPool;
}

export const nameOfHouse = ({ transport, sharing, era }: House): string => `${era ?? transport}-${sharing}`;

type Addresses = Readonly<Record<string, { readonly url: string; readonly sseUrl: string }>>;

const BRIDGE = {
  maxMessageBytes: 2 ** 20,
  maxStreamBufferBytes: 2 ** 20,
  maxBufferedBytes: 2 ** 22,
  stallTimeoutMs: 30_000,
  graceMs: 2_000,
} as const;

/** Times for a machine that is busy: nothing here is to fail by them. */
const WAIT_MS = 120_000;
const GATEWAY = {
  port: 0,
  sse: true,
  listTimeoutMs: WAIT_MS,
  serverWaitMs: WAIT_MS,
  stallTimeoutMs: WAIT_MS,
  bodyTimeoutMs: WAIT_MS,
  keepAliveTimeoutMs: WAIT_MS,
} as const;
const POOL: UnifiedPoolOptions = {
  ledger: false,
  maxConnectionsTotal: 500,
  startTimeoutMs: WAIT_MS,
  requestTimeoutMs: WAIT_MS,
  acquireTimeoutMs: WAIT_MS,
  healthTimeoutMs: WAIT_MS,
  credentials: async ({ caller }) => {
    const user = caller?.principal ?? 'nobody';
    return { headers: { 'x-gossip-user': user }, env: { GOSSIP_USER: user } };
  },
};

/** Servers of every kind behind two gateways, one with users and one without, over one pool. */
export class Street {
  readonly history = new History({ maxEvents: 4_000_000 });
  readonly #events: string;
  readonly #owners: Owners = new Map();
  readonly #pool: McpPool;
  readonly #gateways: { readonly named: Gateway; readonly open: Gateway };
  readonly #urls = new Map<Gateway, { readonly listen: string; readonly handler: string }>();
  readonly #neighbours: Neighbour[] = [];

  private constructor(pool: McpPool, events: string) {
    this.#pool = pool;
    this.#events = events;
    const cache = closeAfter(new FileCache({ directory: tempFolder() }));
    const common = { ...GATEWAY, pool, cache };
    const authenticate: Authenticate = async ({ headers }) => {
      const user = headers['x-user'];
      return typeof user === 'string' ? { principal: user } : undefined;
    };
    this.#gateways = {
      named: closeAfter(new Gateway({ ...common, authenticate })),
      open: closeAfter(new Gateway(common)),
    };
  }

  static async open({ houses, users, nameless, between = (pool) => pool }: StreetOptions): Promise<Street> {
    const events = join(tempFolder(), 'events.jsonl');
    writeFileSync(events, '');
    const remote = houses.filter(({ transport }) => transport !== 'stdio');
    const args = ['http', ...remote.map((house) => `${nameOfHouse(house)}:${house.era ?? 'legacy'}`)];
    const program = new Program(fixture('gossip-server.mjs'), { args, env: { EVENTS: events } });
    const [addresses] = await program.line(/^\{.*/);
    const pool = closeAfter(new UnifiedPool(POOL));
    for (const house of houses) pool.addServer(configOf(house, JSON.parse(addresses), events));
    const street = new Street(between(pool), events);
    await street.#listen();
    const names = [...users, ...Array.from({ length: nameless }, () => undefined)];
    const all = names.flatMap((user, row) => houses.map((house, column) => ({ user, house, nth: row + column })));
    await Promise.all(
      all.map(async ({ user, house, nth }, index) => {
        const front = FRONTS[nth % FRONTS.length] ?? 'http';
        street.#neighbours.push(await street.#movesIn(user, house, front, `${user ?? 'nobody'}-${index}`));
      }),
    );
    return street;
  }

  get neighbours(): readonly Neighbour[] {
    return this.#neighbours;
  }

  /** Everything ends; what the clients heard is judged with what the servers did. */
  async judge(): Promise<Verdict> {
    await Promise.all(this.#neighbours.map((each) => each.close()));
    await Promise.all([this.#gateways.named.close(), this.#gateways.open.close()]);
    await this.#pool.close();
    this.history.end();
    this.history.merge(readFileSync(this.#events, 'utf8'));
    return check(this.history);
  }

  async #listen(): Promise<void> {
    for (const gateway of Object.values(this.#gateways)) {
      const server = createServer((request, response) => void gateway.handler(request, response));
      server.keepAliveTimeout = WAIT_MS;
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      closeAfter({ close: () => closeHttpServer(server, { graceMs: 0 }) });
      const { port } = server.address() as AddressInfo;
      const { url } = await gateway.listen();
      this.#urls.set(gateway, { listen: url, handler: `http://127.0.0.1:${port}/below` });
    }
  }

  #movesIn(principal: string | undefined, house: House, front: Front, session: string): Promise<Neighbour> {
    const server = nameOfHouse(house);
    const gateway = principal === undefined ? this.#gateways.open : this.#gateways.named;
    const headers: Record<string, string> = principal === undefined ? {} : { 'x-user': principal };
    const ledger = new Ledger({ principal, session, server }, this.history, this.#owners);
    const all = front.includes('all');
    const path = front === 'sse' ? `/servers/${server}/sse` : all ? '/mcp' : `/servers/${server}/mcp`;
    const { listen, handler } = this.#urls.get(gateway) ?? { listen: '', handler: '' };
    const url = `${front === 'handler' ? handler : listen}${path}`;
    const era = front.startsWith('modern') ? 'modern' : 'legacy';
    const viaFetch = front === 'fetch' || front === 'modern-fetch';
    const options = {
      url,
      headers,
      era,
      fetch: viaFetch ? (request: Request) => gateway.fetch(request) : fetch,
    } as const;
    const bridged = (input: Readable, output: Writable): Promise<void> =>
      principal === undefined
        ? gateway.serveStdio({ input, output, path })
        : new StdioBridge({ ...BRIDGE, input, output, headers, url: new URL(url) }).run();
    const lines: Partial<Record<Front, NeighbourOptions['line']>> = {
      stdio: stdioLine(bridged),
      sse: sseLine(options),
    };
    return Neighbour.open({
      ledger,
      era,
      tool: all ? `${server}__say` : 'say',
      // Shared servers over stdio and SSE cannot say whom they ask; the modern era asks otherwise.
      isAsked: house.era === undefined && (house.sharing !== 'shared' || house.transport === 'http'),
      line: lines[front] ?? httpLine(options),
    });
  }
}

function configOf(house: House, addresses: Addresses, events: string): ServerConfig {
  const { transport, sharing, era = 'legacy' } = house;
  const name = nameOfHouse(house);
  const common = { name, sharing, maxConnections: 64 };
  if (transport === 'stdio') {
    const args = [fixture('gossip-server.mjs'), 'stdio', name];
    return { ...common, transport, command: process.execPath, args, env: { EVENTS: events } };
  }
  const { url, sseUrl } = addresses[name] ?? { url: '', sseUrl: '' };
  return transport === 'sse' ? { ...common, transport, url: sseUrl } : { ...common, transport, url, era };
}
