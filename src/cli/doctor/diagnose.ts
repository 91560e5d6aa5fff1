import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { validItems } from '../../gateway/aggregate/lists/validItems.js';
import type { McpPool, ServerInfo } from '../../pool/McpPool.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { startProblem } from '../configs.js';

/** What was found out about one server. */
export interface ServerReport {
  readonly name: string;
  readonly transport: string;
  /** `off`: switched off in the config, and not started. `failed`: it cannot be used. `warning`: it can, with what is said. */
  readonly verdict: 'ok' | 'warning' | 'failed' | 'off';
  readonly protocolVersion?: string;
  readonly serverInfo?: ServerInfo['serverInfo'];
  /** From the start until it was ready. */
  readonly startMs?: number;
  /** Items of each list that it offers. */
  readonly tools?: number;
  readonly prompts?: number;
  readonly resources?: number;
  /** One line each. */
  readonly problems: readonly string[];
}

const LISTS = ['tools', 'prompts', 'resources'] as const;

/** Notes what the pool warns of while it reads a server's lists: cursors that do not advance, for example. */
export class WarningCollector {
  readonly #warnings = new Map<string, string[]>();

  /** `logger`, with an ear for its warnings. */
  over(logger: Logger): Logger {
    const warn = (fields: object | string, message?: string): void => {
      if (typeof fields === 'string') {
        logger.warn(fields);
        return;
      }
      const { server, method } = fields as { readonly server?: unknown; readonly method?: unknown };
      if (typeof server === 'string' && typeof method === 'string' && message !== undefined) {
        this.#warnings.set(server, [...(this.#warnings.get(server) ?? []), `${method}: ${message}`]);
      }
      if (message === undefined) logger.warn(fields);
      else logger.warn(fields, message);
    };
    return { ...bound(logger), warn };
  }

  of(server: string): readonly string[] {
    return this.#warnings.get(server) ?? [];
  }
}

/** Starts a server that the pool knows, asks for its lists, and says what is wrong. Never rejects for what the server does. */
export async function diagnose(
  pool: McpPool,
  file: string,
  config: ServerConfig,
  warnings: WarningCollector,
  signal: AbortSignal,
): Promise<ServerReport> {
  const { name } = config;
  const transport = config.transport ?? 'url';
  // A server with a connection for each session gets one for us.
  const caller = config.sharing === 'bound' ? { caller: { key: 'doctor' } } : {};
  if (config.enabled === false) return { name, transport, verdict: 'off', problems: [] };
  const startedMs = performance.now();
  try {
    await pool.startServer(name);
  } catch (error) {
    return { name, transport, verdict: 'failed', problems: [startProblem(file, config, error).message] };
  }
  const startMs = Math.round(performance.now() - startedMs);
  // It has told nothing before it has a connection, and answers a ping even if with an error.
  await pool.request(name, 'ping', undefined, { signal, ...caller }).catch((error: unknown) => error);
  const info = pool.info(name, caller.caller);
  const counts: Partial<Record<(typeof LISTS)[number], number>> = {};
  const problems: string[] = [];
  for (const kind of LISTS) {
    if (info?.capabilities[kind] === undefined) continue;
    try {
      const { items } = await pool.listAll(name, kind, { signal, ...caller });
      counts[kind] = items.length;
      problems.push(...validItems(kind, items).problems.map((each) => `left out: ${each}`));
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  problems.push(...warnings.of(name));
  return {
    name,
    transport,
    verdict: problems.length === 0 ? 'ok' : 'warning',
    ...(info && { protocolVersion: info.protocolVersion }),
    ...(info?.serverInfo && { serverInfo: info.serverInfo }),
    startMs,
    ...counts,
    problems,
  };
}

function bound(logger: Logger): Logger {
  const { trace, debug, info, warn, error } = logger;
  return {
    trace: trace.bind(logger),
    debug: debug.bind(logger),
    info: info.bind(logger),
    warn: warn.bind(logger),
    error: error.bind(logger),
  };
}
