import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Gateway } from '../src/gateway/Gateway.js';
import { EventLog } from '../src/observe/index.js';
import { HTTPClientPool } from '../src/pool/HTTPClientPool.js';
import { UnifiedPool } from '../src/pool/UnifiedPool.js';
import { drive } from './drive.js';
import type { Bench } from './harness.js';

const ECHO = { name: 'echo', transport: 'stdio', command: process.execPath, args: ['bench/servers/echo.mjs'] } as const;
const WIDTH = 64;
const OPERATIONS = 1_500;
/** Takes lines and forgets them, so that the making of them is what is measured. */
const drop = (): void => undefined;
const quiet = { trace: drop, debug: drop, info: drop, warn: drop, error: drop };

/**
 * What watching costs: the same gateway over the same server with nothing that listens, with the instrument behind the status page
 * and `/metrics`, and with a log of events. The client is in the same process, and its part of each call is in the figures: what
 * is measured of the gateway alone is more, by the share that the client takes.
 */
export async function suite(bench: Bench): Promise<void> {
  await using bare = await served(false);
  await using watched = await served(true);
  await using again = await served(false);
  const gateways = [
    { name: 'nothing listens', run: bare.run },
    { name: 'the instrument listens', run: watched.run },
    { name: 'nothing listens, the same again', run: again.run },
  ];
  const figure = await bench.race(`calls through the gateway, ${WIDTH} in flight`, gateways, {
    operations: OPERATIONS,
    rounds: 15,
  });
  const ratio = (name: string): number => figure(name).cpuNs / figure('nothing listens').cpuNs;
  bench.note(`the same twice: x${ratio('nothing listens, the same again').toFixed(3)} of the processor time`);
  bench.target(
    'processor time of a call with the instrument, against none',
    ratio('the instrument listens'),
    '<=',
    1.03,
  );
  await pools(bench);
}

async function pools(bench: Bench): Promise<void> {
  await using pool = new UnifiedPool({ ledger: false });
  pool.addServer(ECHO);
  const run = (operations: number): Promise<void> =>
    drive(operations, WIDTH, (text) => pool.callTool('echo', 'echo', { text }));
  const listener = (): void => undefined;
  const log = (): EventLog => new EventLog({ pool, logger: quiet });
  const figure = await bench.race(
    `calls of a pool, ${WIDTH} in flight`,
    [
      { name: 'nothing listens', run },
      {
        name: 'an empty subscriber',
        run: async (operations) => {
          subscribe('mcp-poolkit:call', listener);
          await run(operations).finally(() => unsubscribe('mcp-poolkit:call', listener));
        },
      },
      {
        name: 'a log of events',
        run: async (operations) => {
          using _ = log();
          await run(operations);
        },
      },
    ],
    { operations: OPERATIONS * 2 },
  );
  for (const name of ['an empty subscriber', 'a log of events']) {
    bench.note(`${name}: ${Math.round(figure(name).medianNs - figure('nothing listens').medianNs)} ns a call`);
  }
}

async function served(status: boolean) {
  const pool = new UnifiedPool({ ledger: false });
  pool.addServer(ECHO);
  const gateway = new Gateway({ pool, port: 0, status });
  const { url } = await gateway.listen();
  const client = new HTTPClientPool();
  client.addServer({ name: 'gateway', transport: 'http', url: `${url}/servers/echo/mcp`, era: 'legacy' });
  return {
    run: (operations: number): Promise<void> =>
      drive(operations, WIDTH, (text) => client.callTool('gateway', 'echo', { text })),
    async [Symbol.asyncDispose]() {
      await client.close({ graceMs: 0 });
      await gateway.close({ graceMs: 0 });
      await pool.close({ graceMs: 0 });
    },
  };
}
