import { HTTP_DEFAULTS } from '../connection/net/httpOptions.js';
import { systemClock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { sleep } from '../core/time/sleep.js';
import { addGateway } from '../gateway/addGateway.js';
import { Gateway } from '../gateway/Gateway.js';
import { GATEWAY_DEFAULTS, isLoopback } from '../gateway/GatewayOptions.js';
import type { GatewayAddress } from '../gateway/mount/listenAt.js';
import { EventLog } from '../observe/logs/EventLog.js';
import type { McpPool } from '../pool/McpPool.js';
import { UnifiedPool } from '../pool/UnifiedPool.js';
import type { ConfigError } from '../registry/config/ConfigError.js';
import type { ParsedConfig } from '../registry/config/configFile.js';
import type { ServerConfig } from '../registry/config/ServerConfig.js';
import { closeInheritedDescriptors } from '../registry/process/descriptors.js';
import { Health } from '../shutdown/Health.js';
import { ShutdownPlan } from '../shutdown/ShutdownPlan.js';
import { FileCache } from '../toolstore/FileCache.js';
import { credentialsOf } from './auth/credentialsOf.js';
import { LiveConfig } from './config/LiveConfig.js';
import { onHangup } from './config/onHangup.js';
import { unpoolable, withoutUnusable } from './config/withoutUnusable.js';
import { canChange, type LoadedConfig, loadConfig, NO_SERVERS, startProblem } from './configs.js';
import { whenUnused } from './desk/whenUnused.js';
import { createLogger } from './output/logger.js';
import { jsonOutput, type Output, type ServerLine, stdioOutput, textOutput } from './output/output.js';
import { whenNpmIsGone, whenParentIsGone } from './parent.js';
import { joinRedis } from './serving/joinRedis.js';
import { keepCallsYoung } from './serving/keepCallsYoung.js';
import { socketsOf } from './serving/openFilesLimit.js';
import { readSessionKeys } from './serving/readSessionKeys.js';
import type { ServeOptions } from './serving/ServeOptions.js';
import { markServed } from './serving/servedAbove.js';
import { ANSWER_MS, stopBudgetMs } from './stopTimes.js';
import { asWorker, type WorkerRole } from './workers/asWorker.js';
import { shareable, shareOf } from './workers/shareOf.js';

/** After a second signal: enough to tell clients, to kill every server and to see it dead, also on a busy machine. */
const FORCE_MS = 3_000;

/** Behind a load balancer: how long it refuses calls before it closes its port. */
const REFUSING_MS = 500;

/** How long the line that says it serves waits for servers to be up. */
const SETTLE_MS = 3_000;

/** `mcp-poolkit serve`, of one process or as a worker: resolves when it serves, or has failed to; signals end it. */
export async function serve(options: ServeOptions): Promise<void> {
  keepCallsYoung();
  const { workers = 1 } = options;
  let orphaned = (): void => process.exit(1);
  const worker = workers > 1 ? await asWorker(() => orphaned()) : undefined;
  const listening = options.json === true ? jsonOutput : textOutput;
  const output = worker?.output ?? (options.stdio === true ? stdioOutput : listening);
  const logger = createLogger(options.logLevel);
  const { graceMs, propagationDelay: propagationDelayMs } = options;
  const totalMs = stopBudgetMs({ graceMs, propagationDelayMs });
  const plan = new ShutdownPlan({ logger, totalMs, propagationDelayMs });
  plan.listen({
    exit: true,
    // SIGHUP may ask for the config to be read again.
    signals: ['SIGINT', 'SIGTERM', 'SIGQUIT'],
    // A fault of ours must not leave servers behind.
    uncaughtException: true,
    unhandledRejection: true,
    forceMs: FORCE_MS,
    onReport: (report) => {
      for (const error of report.error?.errors ?? []) output.failure(messageOf(error));
      // One that could not start has failed, however well it stopped.
      const exitCode = Number(process.exitCode ?? 0) || report.exitCode;
      if (report.ok) output.event('stopped', { exitCode, ms: report.ms });
    },
  });
  plan.beforeStop(({ reason }) => output.event('stopping', { reason }));
  orphaned = () => void plan.shutdown('its primary is gone');
  if (options.stdio === true) whenParentIsGone(() => void plan.shutdown('its client is gone'));
  else if (worker === undefined) whenNpmIsGone(() => void plan.shutdown('npm is gone'));
  let live: Promise<LiveConfig> | undefined;
  const stop = (): void => void plan.shutdown('SIGHUP');
  const reload = async (): Promise<boolean> => (await live)?.reload() ?? false;
  if (options.stdio === true) process.on('SIGHUP', stop);
  else if (worker === undefined) onHangup({ reload, stop });
  else worker.onReload(reload);
  try {
    live = start(worker === undefined ? options : { ...options, port: worker.port }, { plan, output, logger, worker });
    await live;
  } catch (error) {
    // A stop while it starts is told by the plan.
    if (plan.stopping) return;
    output.failure(messageOf(error));
    process.exitCode = 1;
    await plan.shutdown('it could not start');
  }
}

interface Context {
  readonly plan: ShutdownPlan;
  readonly output: Output;
  readonly logger: Logger;
  /** What it is among others of its kind. */
  readonly worker: WorkerRole | undefined;
}

/** Rejects when nothing can be served. */
async function start(options: ServeOptions, { plan, output, logger, worker }: Context): Promise<LiveConfig> {
  const { host, port, graceMs, allowHost = [], allowOrigin = [] } = options;
  if (!isLoopback(host) && allowHost.length === 0) {
    throw new Error(
      `--host ${host} can be reached from elsewhere: say with --allow-host by which names, as they stand in clients' URLs`,
    );
  }
  const sessionKeys = worker?.sessionKeys ?? (await readSessionKeys(options.sessionKey));
  const shared = { ...(worker && { replicas: worker.link }), ...(await joinRedis(options.redis, { plan, logger })) };
  const share = (each: ServerConfig): ServerConfig => (worker === undefined ? each : shareOf(each, worker.share));
  const usable = <T extends ParsedConfig>(parsed: T, file: string): T =>
    worker === undefined ? parsed : shareable(parsed, file, worker.share);
  const loaded = await loadConfig(options.config);
  const config = usable(loaded, loaded.file);
  markServed(config.file);
  // Not before: the config may be one of them, as with `--config <(…)`.
  if (worker === undefined) closeInheritedDescriptors();
  for (const warning of config.warnings) output.warning(warning);
  for (const problem of config.problems) output.problem(problem);
  const cache = options.cache === undefined ? undefined : new FileCache({ directory: options.cache, logger });
  if (cache !== undefined) plan.add('tool lists', cache, { phase: 'release' });
  const credentials = credentialsOf(options, logger);
  const pool = new UnifiedPool({
    logger,
    credentials,
    maxSubscriptionStreams: socketsOf(HTTP_DEFAULTS.maxSubscriptionStreams, 1 / 4),
    ...(cache && { eraStore: cache.eraStore() }),
  });
  plan.add('servers', pool, { phase: 'close' });
  const startMs = new Map<string, number>();
  watch(pool, { output, logger, startMs });
  // Below, the lines would be made and dropped.
  const verbose = ['trace', 'debug', 'info'].includes(options.logLevel);
  if (verbose) new EventLog({ pool, logger, successes: options.logLevel !== 'info' });
  // Known before the first client and the first start, so that no client sees one of them missing.
  for (const each of config.servers) pool.addServer(share(each));
  const gateway = new Gateway({
    pool,
    logger,
    host,
    port,
    allowedHosts: allowHost,
    allowedOrigins: allowOrigin,
    maxSockets: socketsOf(GATEWAY_DEFAULTS.maxSockets),
    sse: options.sse === true,
    health: new Health({ plan }),
    // What is done to one worker's servers is not done to those of the others.
    status: {
      page: options.status && isLoopback(host),
      actions: worker === undefined,
      metrics: options.metrics === true,
    },
    curation: config.curation,
    ...(cache && { cache }),
    ...(sessionKeys && { sessionKeys }),
    ...shared,
  });
  const refusingMs = options.propagationDelay > 0 ? REFUSING_MS : 0;
  addGateway(plan, gateway, { graceMs, timeoutMs: graceMs + ANSWER_MS, refusingMs });
  const url = options.stdio === true ? serveClient(gateway, plan) : (await listen(gateway, options)).url;
  // Not before: where the port is taken, another is serving them.
  const settled = startServers(pool, config, output, plan);
  // Told below; a stop meanwhile must not leave it unheard.
  settled.catch((error: unknown) => error);
  // Clients are served from here on. What is slow to start follows by itself, and is told by `started` and `problem`.
  await Promise.race([settled, sleep(systemClock, SETTLE_MS, { signal: plan.signal })]);
  const servers = await linesOf(pool, config, startMs);
  output.ready({ url, config: config.file, servers, stopMs: plan.totalMs });
  const startOne = async (name: string): Promise<void> =>
    void (await startServer(pool, config.file, name, output, plan));
  const live = new LiveConfig({
    config,
    pool,
    output,
    logger,
    start: startOne,
    curate: (curation) => gateway.curate(curation),
    usable: (parsed) => usable(withoutUnusable(parsed, config.file, unpoolable), config.file),
    share,
  });
  plan.add('config', live, { phase: 'refuse' });
  const { exitUnusedMs } = options;
  if (exitUnusedMs !== undefined) whenUnused(gateway, exitUnusedMs, () => void plan.shutdown('no client is left'));
  return live;
}

/** The one client of stdin and stdout: when it is gone, so is the reason to be here. */
function serveClient(gateway: Gateway, plan: ShutdownPlan): string {
  gateway.serveStdio().then(
    () => plan.shutdown('its client is gone'),
    (error: unknown) => plan.shutdown(messageOf(error)),
  );
  return 'stdio';
}

/**
 * One bad server never stops the others. A server that is down now may be up at the next call; only when none can ever
 * start, since what the config says cannot be run, there is nothing to serve. A file that names none yet may do so later.
 */
async function startServers(pool: McpPool, config: LoadedConfig, output: Output, plan: ShutdownPlan): Promise<void> {
  const wanted = config.servers.filter(({ enabled }) => enabled !== false);
  if (wanted.length === 0 && config.problems.length === 0) {
    const none = `${config.file}: ${config.servers.length === 0 ? NO_SERVERS : 'all servers in it are disabled'}`;
    if (!canChange(config.file)) throw new Error(none);
    output.warning(`${none}: it waits for a change of the file that brings one`);
    return;
  }
  const hopeless = await Promise.all(
    wanted.map(async ({ name }) => {
      const problem = await startServer(pool, config.file, name, output, plan);
      return problem?.field === 'command' || problem?.field === 'cwd';
    }),
  );
  if (hopeless.every(Boolean)) throw new Error(`${config.file}: no server could be started`);
}

/** Starts one; tells what is wrong with it, and gives it. Never rejects. */
async function startServer(
  pool: McpPool,
  file: string,
  name: string,
  output: Output,
  plan: ShutdownPlan,
): Promise<ConfigError | undefined> {
  const config = pool.config(name);
  try {
    await pool.startServer(name);
    return undefined;
  } catch (error) {
    // A stop ends starts too, and so does a change of the config: that is no problem of the server.
    if (plan.stopping || config === undefined || pool.config(name) !== config) return undefined;
    const problem = startProblem(file, config, error);
    output.problem(problem);
    return problem;
  }
}

async function listen(gateway: Gateway, { host, port }: ServeOptions): Promise<GatewayAddress> {
  try {
    return await gateway.listen();
  } catch (error) {
    const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    const why = taken ? 'the port is taken (--port 0 picks a free one)' : messageOf(error);
    throw new Error(`cannot listen on ${host}:${port}: ${why}`, { cause: error });
  }
}

function linesOf(
  pool: McpPool,
  { servers }: LoadedConfig,
  startMs: ReadonlyMap<string, number>,
): Promise<ServerLine[]> {
  const held = servers.map(({ name }) => name).filter((name) => pool.hasServer(name));
  return Promise.all(
    held.map(async (name) => {
      // A server with a connection for each session tells its tools in one alone.
      const askable = pool.state(name) === 'ready' && pool.config(name)?.sharing !== 'bound';
      const tools = askable
        ? await pool.listAll(name, 'tools', LISTING).then((list) => list.items.length, none)
        : undefined;
      const { state, pids, startedAt } = pool.stats(name);
      return {
        name,
        state,
        pid: pids[0],
        tools,
        startedAt: startedAt === undefined ? undefined : new Date(startedAt).toISOString(),
        startMs: startMs.get(name),
      };
    }),
  );
}

/** The count of a server's tools is not worth a longer wait before the URL is told, in ms. */
const LISTING = { maxTotalTimeoutMs: SETTLE_MS };

/** A server without tools is as good as any. */
const none = (): undefined => undefined;

function watch(
  pool: McpPool,
  { output, logger, startMs }: { output: Output; logger: Logger; startMs: Map<string, number> },
): void {
  pool.on('started', ({ principal: _, ...event }) => {
    startMs.set(event.server, event.startMs);
    output.event('started', event);
  });
  pool.on('state', (event) => output.event('state', event));
  pool.on('exited', (event) => {
    output.event('exited', event);
    if (!event.expected) logger.warn(event, 'a server ended by itself');
  });
  pool.on('stderr', (event) => logger.debug(event, 'a server wrote'));
}
