import { messageOf } from '../../core/errors.js';
import { UnifiedPool } from '../../pool/UnifiedPool.js';
import { ConfigError } from '../../registry/config/ConfigError.js';
import { closeInheritedDescriptors } from '../../registry/process/descriptors.js';
import { ShutdownPlan } from '../../shutdown/ShutdownPlan.js';
import { credentialsOf } from '../auth/credentialsOf.js';
import type { TokensOption } from '../auth/tokensFlag.js';
import { type LoadedConfig, loadConfig, NO_SERVERS } from '../configs.js';
import { complain } from '../output/complain.js';
import { createLogger } from '../output/logger.js';
import { writeOut } from '../output/showResult.js';
import { markServed } from '../serving/servedAbove.js';
import { diagnose, WarningCollector } from './diagnose.js';
import { asJson, asText } from './report.js';
import { withAllTargets } from './targets.js';

const GRACE_MS = 200;

export interface DoctorOptions extends TokensOption {
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
    const config = withServers(await loadConfig(options.config));
    markServed(config.file);
    closeInheritedDescriptors();
    const warnings = new WarningCollector();
    // They are started to be looked at, and have nothing to finish.
    const pool = new UnifiedPool({
      logger: warnings.over(logger),
      stdinGraceMs: GRACE_MS,
      termGraceMs: GRACE_MS,
      credentials: credentialsOf(options, logger),
    });
    plan.add('servers', pool, { phase: 'close' });
    for (const each of config.servers) pool.addServer(withAllTargets(each));
    const servers = await Promise.all(
      config.servers.map((each) => diagnose(pool, config.file, each, warnings, plan.signal)),
    );
    const ok = config.problems.length === 0 && servers.every(({ verdict }) => verdict === 'ok' || verdict === 'off');
    if (!ok) process.exitCode = 1;
    await writeOut((options.json === true ? asJson : asText)({ config, servers, ok }));
  } catch (error) {
    complain(plan.stopping ? 'interrupted' : messageOf(error));
    process.exitCode = 1;
  }
  await plan.shutdown('done');
}

/** A config without any server is one that cannot be used. */
function withServers(config: LoadedConfig): LoadedConfig {
  const { file, servers, problems } = config;
  if (servers.length > 0 || problems.length > 0) return config;
  return { ...config, problems: [new ConfigError({ file }, NO_SERVERS)] };
}
