import { messageOf } from '../../core/errors.js';
import { UnifiedPool } from '../../pool/UnifiedPool.js';
import { closeInheritedDescriptors } from '../../registry/process/descriptors.js';
import { ShutdownPlan } from '../../shutdown/ShutdownPlan.js';
import { type LoadedConfig, loadConfig } from '../configs.js';
import { createLogger } from '../output/logger.js';
import { complain } from '../output/output.js';
import { writeOut } from '../output/showResult.js';
import { diagnose, type ServerReport, WarningCollector } from './diagnose.js';

export interface DoctorOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly logLevel: string;
}

/** `mcp-poolkit doctor`: exit code 0 when all that the config names can be used without a remark, else 1. */
export async function doctor(options: DoctorOptions): Promise<void> {
  const logger = createLogger(options.logLevel);
  const plan = new ShutdownPlan({ logger });
  plan.listen({
    exit: true,
    // A fault of ours must not leave servers behind.
    uncaughtException: true,
    unhandledRejection: true,
    onReport: (report) => {
      for (const error of report.error?.errors ?? []) complain(messageOf(error));
    },
  });
  try {
    const config = await loadConfig(options.config);
    closeInheritedDescriptors();
    const warnings = new WarningCollector();
    const pool = new UnifiedPool({ logger: warnings.over(logger) });
    plan.add('servers', pool, { phase: 'close' });
    for (const each of config.servers) pool.addServer(each);
    const servers = await Promise.all(
      config.servers.map((each) => diagnose(pool, config.file, each, warnings, plan.signal)),
    );
    const ok = config.problems.length === 0 && servers.every(({ verdict }) => verdict === 'ok' || verdict === 'off');
    if (!ok) process.exitCode = 1;
    await writeOut(options.json === true ? asJson(config, servers, ok) : asText(config, servers));
  } catch (error) {
    complain(plan.stopping ? 'interrupted' : messageOf(error));
    process.exitCode = 1;
  }
  await plan.shutdown('done');
}

function asJson({ file, problems, warnings }: LoadedConfig, servers: readonly ServerReport[], ok: boolean): string {
  const config = problems.map(({ message, server, field }) => ({ message, server, field }));
  return `${JSON.stringify({ ok, file, servers, problems: config, warnings }, null, 2)}\n`;
}

function asText({ file, problems, warnings }: LoadedConfig, servers: readonly ServerReport[]): string {
  const width = Math.max(0, ...servers.map(({ name }) => name.length));
  const lines = servers.flatMap((server) => [
    `  ${server.verdict.padEnd(8)}${server.name.padEnd(width)}  ${summary(server)}`.trimEnd(),
    ...server.problems.map((problem) => `          ${problem}`),
  ]);
  const config = [
    ...problems.map(({ message }) => `  failed  ${message}`),
    ...warnings.map((each) => `  note    ${each}`),
  ];
  return `${[file, ...lines, ...config].join('\n')}\n`;
}

function summary({ transport, protocolVersion, startMs, ...counts }: ServerReport): string {
  const parts = [transport];
  if (protocolVersion !== undefined) parts.push(`MCP ${protocolVersion}`);
  for (const kind of ['tools', 'prompts', 'resources'] as const) {
    if (counts[kind] !== undefined) parts.push(`${counts[kind]} ${kind}`);
  }
  if (startMs !== undefined) parts.push(`ready in ${startMs} ms`);
  return parts.join(', ');
}
