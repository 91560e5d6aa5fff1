import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import type { Era, ServerConfig, ServerSettings } from '../../src/registry/config/ServerConfig.js';
import { bundled } from './bundled.js';
import { closeAfter } from './closeAfter.js';

const SERVER = 'dual-era/server.mjs';

interface Started {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Those over HTTP that the tests of a file share, by the one era that they speak. */
const shared = new Map<Era | undefined, Started>();

/** Starts servers over HTTP for all tests of this file, one for each: both eras, or one alone. Their URL is that of `dualEraServer`. */
export function shareDualEra(...eras: readonly (Era | undefined)[]): void {
  beforeAll(async () => {
    await Promise.all(eras.map(async (era) => shared.set(era, await started('http', era))));
  });
  afterAll(async () => {
    await Promise.all([...shared.values()].map(({ close }) => close()));
    shared.clear();
  });
}

/** Starts the server of both eras over a URL transport, until the end of the test; resolves to its URL. */
export async function dualEraServer(transport: 'http' | 'sse', era?: Era): Promise<string> {
  const server = transport === 'http' ? shared.get(era) : undefined;
  return (server ?? closeAfter(await started(transport, era))).url;
}

async function started(transport: 'http' | 'sse', era?: Era): Promise<Started> {
  const args = [await bundled(SERVER), `--transport=${transport}`, ...(era ? [`--era=${era}`] : [])];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exited = once(child, 'exit');
  const close = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { ...(JSON.parse(line) as { url: string }), close };
}

/** How to reach the server of both eras. */
export async function dualEraConfig(
  transport: 'http' | 'sse' | 'stdio',
  settings: Partial<ServerSettings> & { readonly only?: Era } = {},
): Promise<ServerConfig> {
  const { only, ...rest } = settings;
  if (transport === 'stdio') {
    const args = [await bundled(SERVER), ...(only ? [`--era=${only}`] : [])];
    return { name: 'dual', transport, command: process.execPath, args, ...rest };
  }
  return { name: 'dual', transport, url: await dualEraServer(transport, only), ...rest };
}

export interface DualGateway {
  readonly url: string;
  /** The server's own path. */
  readonly path: string;
  readonly pool: UnifiedPool;
  readonly gateway: Gateway;
}

/** A gateway before that server, until the end of the test. */
export async function dualEraGateway(
  config: ServerConfig,
  options: Partial<GatewayOptions> = {},
): Promise<DualGateway> {
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer(config);
  const gateway = closeAfter(new Gateway({ pool, port: 0, ...options }));
  const { url } = await gateway.listen();
  return { url, path: `${url}/servers/${config.name}/mcp`, pool, gateway };
}
