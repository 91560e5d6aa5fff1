import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Clock } from '../../../../src/core/clock.js';
import { Gateway } from '../../../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../../../src/pool/UnifiedPool.js';
import type { ClientKind, ConnectOptions, Face } from './Face.js';

const SERVER = 'test/fixtures/dual-era/server.mjs';

/** What can be told to end. */
export interface Ending {
  close(): Promise<void>;
}

/** A URL that the clients are run against. */
export interface Target {
  readonly name: string;
  readonly url: string;
  /** The same server through a gateway whose clock may be moved: for the calls that last. */
  readonly slowUrl: string;
  /** Stands before the names of tools and prompts. */
  readonly prefix?: string;
}

export interface Targets extends Ending {
  readonly straight: Target;
  readonly through: readonly Target[];
}

/** The server of both eras over Streamable HTTP. */
export async function startServer(): Promise<Ending & { readonly url: string }> {
  const child = spawn(process.execPath, [SERVER, '--transport=http'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const close = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  return { url: (JSON.parse(line) as { url: string }).url, close };
}

/** The server itself, and gateways before it in every way it can be had; the calls that last go by `clock`. */
export async function startTargets(clock: Clock): Promise<Targets> {
  const server = await startServer();
  const pool = new UnifiedPool({ ledger: false });
  const http = { transport: 'http', url: server.url } as const;
  const stdio = { transport: 'stdio', command: process.execPath, args: [SERVER] } as const;
  pool.addServer({ name: 'http-shared', ...http });
  pool.addServer({ name: 'http-bound', ...http, sharing: 'bound' });
  pool.addServer({ name: 'stdio-shared', ...stdio });
  pool.addServer({ name: 'stdio-bound', ...stdio, sharing: 'bound' });
  const alone = new UnifiedPool({ ledger: false });
  alone.addServer({ name: 'dual', ...http });
  const gateways = [pool, alone].flatMap((each) => [
    new Gateway({ pool: each, port: 0 }),
    new Gateway({ pool: each, port: 0, clock }),
  ]);
  const [url = '', slow = '', all = '', allSlow = ''] = await Promise.all(
    gateways.map(async (gateway) => (await gateway.listen()).url),
  );
  const of = (name: string, at: string): Target => ({
    name,
    url: `${url}/servers/${at}/mcp`,
    slowUrl: `${slow}/servers/${at}/mcp`,
  });
  return {
    straight: { name: 'straight', url: server.url, slowUrl: server.url },
    through: [
      of('HTTP, shared', 'http-shared'),
      of('HTTP, bound', 'http-bound'),
      of('stdio, shared', 'stdio-shared'),
      of('stdio, bound', 'stdio-bound'),
      { name: 'all under /mcp', url: `${all}/mcp`, slowUrl: `${allSlow}/mcp`, prefix: 'dual__' },
    ],
    close: async () => {
      await Promise.all(gateways.map((gateway) => gateway.close({ graceMs: 0 })));
      await Promise.all([pool, alone].map((each) => each.close({ graceMs: 0 })));
      await server.close();
    },
  };
}

/** A client of a target, to whom names are without their prefix. */
export async function clientOf(
  kind: ClientKind,
  url: string,
  prefix = '',
  options: ConnectOptions = {},
): Promise<Face> {
  const face = await kind.connect(url, options);
  if (prefix === '') return face;
  const plain = (list: object): object =>
    JSON.parse(JSON.stringify(list).replaceAll(`"name":"${prefix}`, '"name":"')) as object;
  return {
    ...face,
    list: async (what) => plain(await face.list(what)),
    call: (name, ...rest) => face.call(prefix + name, ...rest),
    prompt: (name, args) => face.prompt(prefix + name, args),
    complete: (name, ...rest) => face.complete(prefix + name, ...rest),
  };
}
