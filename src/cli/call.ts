import { messageOf, show } from '../core/errors.js';
import { UnifiedPool } from '../pool/UnifiedPool.js';
import { closeInheritedDescriptors } from '../registry/process/descriptors.js';
import { ShutdownPlan } from '../shutdown/ShutdownPlan.js';
import { sendable } from './arguments.js';
import { credentialsOf } from './auth/credentialsOf.js';
import type { TokensOption } from './auth/tokensFlag.js';
import { loadConfig, notThere, startProblem } from './configs.js';
import { complain } from './output/complain.js';
import { createLogger } from './output/logger.js';
import { showResult, writeSaid } from './output/showResult.js';
import { visible } from './output/visible.js';
import { whenNpmIsGone } from './parent.js';

export interface CallOptions extends TokensOption {
  readonly config?: string;
  readonly timeoutMs: number;
  readonly json?: boolean;
  readonly logLevel: string;
}

/** `mcp-poolkit call`: the exit code says whether the tool answered well. */
export async function call(server: string, tool: string, json: string, options: CallOptions): Promise<void> {
  const logger = createLogger(options.logLevel);
  const plan = new ShutdownPlan({ logger });
  plan.listen({
    exit: true,
    // A fault of ours must not leave the server behind.
    uncaughtException: true,
    unhandledRejection: true,
    onReport: (report) => {
      for (const error of report.error?.errors ?? []) complain(messageOf(error));
    },
  });
  whenNpmIsGone(() => void plan.shutdown('npm is gone'));
  try {
    const pool = new UnifiedPool({ logger, credentials: credentialsOf(options, logger) });
    plan.add('server', pool, { phase: 'close' });
    const config = await loadConfig(options.config);
    // Not before: the config may be one of them, as with `--config <(…)`.
    closeInheritedDescriptors();
    const found = config.servers.find(({ name }) => name === server);
    if (found === undefined) throw notThere(config, server);
    const params = { name: tool, arguments: parseArguments(json) };
    await pool.startServer({ ...found, enabled: true }).catch((error: unknown) => {
      throw startProblem(config.file, found, error);
    });
    const result = await pool.request(server, 'tools/call', params, {
      // A server with a connection for each session gets one for us.
      caller: { key: 'call' },
      signal: plan.signal,
      timeoutMs: options.timeoutMs,
      // As it was typed, and as it came: the digits of a number say more than JavaScript's.
      paramsText: `{"name":${JSON.stringify(tool)},"arguments":${json}}`,
      raw: true,
      onProgress: ({ progress, total, message }) => {
        const told = typeof message === 'string' && message !== '' ? `: ${message}` : '';
        process.stderr.write(`progress: ${visible(progressText(progress, total) + told)}\n`);
      },
    });
    const { text, failed, complaint } = showResult(tool, result, options.json === true);
    if (failed) process.exitCode = 1;
    if (complaint !== undefined) complain(complaint);
    await writeSaid(text);
  } catch (error) {
    complain(plan.stopping ? 'interrupted' : messageOf(error));
    process.exitCode = 1;
  }
  await plan.shutdown('done');
}

/** A server may send anything in the place of a number. */
const progressText = (progress: unknown, total: unknown): string =>
  typeof total === 'number' && total !== 0 ? `${show(progress)} of ${total}` : show(progress);

function parseArguments(json: string): object {
  let value: unknown;
  try {
    value = sendable(JSON.parse(json));
  } catch (error) {
    throw new Error(`the arguments are not JSON: ${messageOf(error)}`, { cause: error });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new Error('the arguments are not a JSON object');
}
