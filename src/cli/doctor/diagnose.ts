import type { Tool } from '@modelcontextprotocol/client';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { withTimeoutSignal } from '../../core/time/within.js';
import { validItems } from '../../gateway/aggregate/lists/validItems.js';
import type { McpPool, ServerInfo } from '../../pool/McpPool.js';
import type { Era, ServerConfig } from '../../registry/config/ServerConfig.js';
import { startProblem } from '../configs.js';
import { few } from '../output/few.js';
import { adviceFor } from './advice.js';
import { residentBytes } from './memory.js';
import { schemaMistakes } from './schemaMistakes.js';
import { targetProblems, transportOf } from './targets.js';
import { tokensOf } from './tokens.js';

/** What was found out about one server. */
export interface ServerReport {
  readonly name: string;
  readonly transport: string;
  /** `off`: switched off in the config, and not started. `failed`: it cannot be used. `warning`: it can, with what is said. */
  readonly verdict: 'ok' | 'warning' | 'failed' | 'off';
  readonly era?: Era;
  readonly protocolVersion?: string;
  readonly serverInfo?: ServerInfo['serverInfo'];
  /** From the start until it was ready. */
  readonly startMs?: number;
  /** Items of each list that it offers. */
  readonly tools?: number;
  readonly prompts?: number;
  readonly resources?: number;
  /** Resident memory of its processes once its lists were read. */
  readonly memoryBytes?: number;
  /** What its tools cost a model, about. */
  readonly tokens?: number;
  /** One line each. */
  readonly problems: readonly string[];
  /** What to do about them, where that can be said. */
  readonly advice: readonly string[];
  /** Names of its tools, for what servers have in common. */
  readonly toolNames: readonly string[];
}

const NOTHING = Object.freeze({ problems: [], advice: [], toolNames: [] });
const HANGS = 'it shakes hands and hangs after that: see its log (--log-level debug shows what it writes to stderr)';
const STUMBLES = 'clients leave out what is listed, or stumble over it: its author is to be told';
const OFFERS =
  'a server is asked for what its handshake declares in capabilities, and for nothing else: its author is to be told';
const DEFAULT_LIMIT_MS = 30_000;
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
  const transport = transportOf(config);
  if (config.enabled === false) return { name, transport, verdict: 'off', ...NOTHING };
  // Its lists come within the time that its start may take: one server that hangs does not hold up the others.
  const limitMs = config.startTimeoutMs ?? DEFAULT_LIMIT_MS;
  return withTimeoutSignal(limitMs, signal, (within) => look(pool, file, config, warnings, within, limitMs));
}

async function look(
  pool: McpPool,
  file: string,
  config: ServerConfig,
  warnings: WarningCollector,
  within: AbortSignal,
  limitMs: number,
): Promise<ServerReport> {
  const { name } = config;
  const transport = transportOf(config);
  // A server with a connection for each session gets one for us.
  const caller = config.sharing === 'bound' ? { caller: { key: 'doctor' } } : {};
  const startedMs = performance.now();
  try {
    await pool.startServer(name);
  } catch (error) {
    const problems = [startProblem(file, config, error).message];
    return {
      ...NOTHING,
      name,
      transport,
      verdict: 'failed',
      problems: told(problems),
      advice: told([adviceFor(config, error)]),
    };
  }
  const startMs = Math.round(performance.now() - startedMs);
  // It has told nothing before it has a connection, and answers a ping even if with an error.
  await pool.request(name, 'ping', undefined, { signal: within, ...caller }).catch((error: unknown) => error);
  const info = pool.info(name, caller.caller);
  const counts: Partial<Record<(typeof LISTS)[number], number>> = {};
  const problems: string[] = [];
  const add = (lines: readonly string[]): void => {
    for (const each of lines) problems.push(each);
  };
  let tools: readonly Tool[] = [];
  for (const kind of LISTS) {
    if (info?.capabilities[kind] === undefined) continue;
    try {
      const { items } = await pool.listAll(name, kind, { signal: within, ...caller });
      counts[kind] = items.length;
      const valid = await validItems(kind, items);
      if (kind === 'tools') tools = valid.items as readonly Tool[];
      add(few(valid.problems, (each) => `left out: ${each}`));
    } catch (error) {
      const why = within.aborted ? `${kind}/list: no answer within ${limitMs} ms of its start` : messageOf(error);
      add(told([why]));
    }
  }
  const nothing = info !== undefined && problems.length === 0 && LISTS.every((kind) => (counts[kind] ?? 0) === 0);
  const empty = nothing && !(counts.resources === 0 && (await hasTemplates(pool, name, { signal: within, ...caller })));
  const undeclared = empty && Object.keys(counts).length === 0;
  if (empty)
    problems.push(`it ${undeclared ? 'declares' : 'lists'} no tools, prompts or resources: clients get nothing of it`);
  const sick = told(await targetProblems(pool, name, within));
  for (const each of [sick, told(warnings.of(name)), schemaMistakes(tools)]) add(each);
  const memoryBytes = residentBytes(pool.stats(name).pids);
  return {
    name,
    transport,
    verdict: problems.length === 0 ? 'ok' : 'warning',
    ...(info && { era: info.era, protocolVersion: info.protocolVersion }),
    ...(info?.serverInfo && { serverInfo: info.serverInfo }),
    startMs,
    ...counts,
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(counts.tools !== undefined && { tokens: tokensOf(tools) }),
    problems,
    advice: adviceOn(problems.length - sick.length - (empty ? 1 : 0), undeclared, within.aborted),
    toolNames: tools.map((tool) => tool.name),
  };
}

/** Templates of resources are something that clients get. */
const hasTemplates = (pool: McpPool, name: string, options: { readonly signal: AbortSignal }): Promise<boolean> =>
  pool.listAll(name, 'resourceTemplates', options).then(
    ({ items }) => items.length > 0,
    () => false,
  );

function adviceOn(mistakes: number, undeclared: boolean, late: boolean): string[] {
  const lists = mistakes === 0 ? [] : [late ? HANGS : STUMBLES];
  return undeclared ? [OFFERS, ...lists] : lists;
}

const told = (lines: readonly string[]): string[] => few(lines, (line) => line);

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
