import { messageOf, OptionError } from '../../core/errors.js';
import { readWhole } from '../../core/files/readWhole.js';
import { type LogFn, silentLogger } from '../../core/logger.js';
import { withoutSecrets } from '../../core/text/withoutSecrets.js';
import { runFakeServer } from '../../testing/fake/child/runFakeServer.js';
import { FakeServer } from '../../testing/fake/FakeServer.js';
import type { FakeServerOptions } from '../../testing/fake/FakeServerOptions.js';
import type { FaultPlanOptions } from '../../testing/faults/FaultPlan.js';
import { FaultProxy } from '../../testing/proxy/FaultProxy.js';
import { runFaultProxy } from '../../testing/proxy/runFaultProxy.js';
import { TcpFaultProxy } from '../../testing/proxy/TcpFaultProxy.js';
import { complain } from '../output/complain.js';
import { visible } from '../output/visible.js';
import { whenNpmIsGone } from '../parent.js';
import { tryOut } from './tryOut.js';

export interface FaultOptions {
  readonly plan: string;
  readonly state?: string;
  readonly events?: string;
  readonly name: string;
  readonly upstream?: string;
  readonly port: number;
  readonly host: string;
}

export interface FakeOptions {
  readonly options?: string;
  readonly port?: number;
  readonly host: string;
}

/** In front of a command until its stdin or its server ends, or of a URL until a signal; exits with 1 and one line when it cannot. */
export async function fault([command, ...args]: readonly string[], options: FaultOptions): Promise<void> {
  await orSay(async () => {
    const { upstream, name, port, host, state: stateFile, events: eventsFile } = options;
    const plan = await readJson<FaultPlanOptions>('--plan', options.plan);
    const files = { ...(stateFile !== undefined && { stateFile }), ...(eventsFile !== undefined && { eventsFile }) };
    if (eventsFile !== undefined) tryOut('--events', eventsFile);
    if (command !== undefined) {
      if (upstream !== undefined)
        throw new OptionError('--upstream', withoutSecrets(upstream), 'nothing beside a command after --');
      await runFaultProxy({ plan, name, command, args, ...files });
      return;
    }
    if (upstream === undefined) throw new OptionError('--upstream', upstream, 'a URL, or a command after --');
    const given = { upstream, plan, name, port, host, logger: { ...silentLogger, warn }, ...files };
    const proxy = await (/^https?:/i.test(upstream) ? FaultProxy.listen(given) : TcpFaultProxy.listen(given));
    process.stdout.write(`${proxy.url} -> ${withoutSecrets(upstream)}\n`);
    await signalled();
    await proxy.close({ graceMs: 0 });
    process.stderr.write(visible(`${proxy.plan}\n`));
  });
}

const warn: LogFn = (fields: object | string, what = String(fields)) =>
  void process.stderr.write(visible(`mcp-poolkit: ${what}\n`));

/** Over stdio, or by URL until a signal. */
export async function runFake({ options: file, port, host }: FakeOptions): Promise<void> {
  await orSay(async () => {
    const options = file === undefined ? {} : await readJson<FakeServerOptions>('--options', file);
    if (port === undefined) {
      runFakeServer(options);
      return;
    }
    const server = new FakeServer(options);
    const { url, sseUrl } = await server.listen({ port, host });
    process.stdout.write(`Streamable HTTP: ${url}\nHTTP+SSE: ${sseUrl}\n`);
    await signalled();
    await server.close({ graceMs: 0 });
  });
}

/** Resolves at the first SIGINT or SIGTERM, or when npx, which keeps a signal to itself, is gone. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    whenNpmIsGone(resolve);
  });
}

async function readJson<T>(option: string, file: string): Promise<T> {
  try {
    return JSON.parse((await readWhole(file)).replace(/^\uFEFF/, '')) as T;
  } catch (error) {
    throw new OptionError(option, file, `a file of JSON: ${messageOf(error)}`, error);
  }
}

async function orSay(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    complain(messageOf(error));
    process.exitCode = 1;
  }
}
