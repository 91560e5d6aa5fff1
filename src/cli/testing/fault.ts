import { readFile } from 'node:fs/promises';
import { messageOf, OptionError } from '../../core/errors.js';
import { runFakeServer } from '../../testing/fake/child/runFakeServer.js';
import type { FakeServerOptions } from '../../testing/fake/FakeServerOptions.js';
import type { FaultPlanOptions } from '../../testing/faults/FaultPlan.js';
import { runFaultProxy } from '../../testing/proxy/runFaultProxy.js';
import { visible } from '../output/visible.js';

export interface FaultOptions {
  readonly plan: string;
  readonly state?: string;
  readonly name: string;
}

/** Runs the proxy until its stdin or its server ends; exits with 1 and one line when it cannot. */
export async function fault([command = '', ...args]: readonly string[], options: FaultOptions): Promise<void> {
  await orSay(async () => {
    const plan = await readJson<FaultPlanOptions>('--plan', options.plan);
    const { state, name } = options;
    await runFaultProxy({ plan, name, command, args, ...(state !== undefined && { stateFile: state }) });
  });
}

export async function runFake(file: string | undefined): Promise<void> {
  await orSay(async () =>
    runFakeServer(file === undefined ? {} : await readJson<FakeServerOptions>('--options', file)),
  );
}

async function readJson<T>(option: string, file: string): Promise<T> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T;
  } catch (error) {
    throw new OptionError(option, file, `a file of JSON: ${messageOf(error)}`, error);
  }
}

async function orSay(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    process.stderr.write(`error: ${visible(messageOf(error))}\n`);
    process.exitCode = 1;
  }
}
