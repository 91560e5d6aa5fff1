import cluster, { type Worker } from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:os';
import { systemClock } from '../../core/clock.js';
import { endProcess } from '../../core/close/endProcess.js';
import { messageOf } from '../../core/errors.js';
import { backoffMs } from '../../core/time/backoff.js';
import { sleep } from '../../core/time/sleep.js';
import { within } from '../../core/time/within.js';
import { LedgerKeeper } from '../../registry/lifecycle/LedgerKeeper.js';
import { closeInheritedDescriptors } from '../../registry/process/descriptors.js';
import { LISTEN_DEFAULTS } from '../../shutdown/plan/signals.js';
import { onHangup } from '../config/onHangup.js';
import { loadConfig } from '../configs.js';
import { jsonOutput, type Output, type Ready, textOutput } from '../output/output.js';
import { readSessionKeys } from '../serving/readSessionKeys.js';
import type { ServeOptions } from '../serving/ServeOptions.js';
import { servedAbove } from '../serving/servedAbove.js';
import { stopBudgetMs } from '../stopTimes.js';
import { closeUntaken } from './closeUntaken.js';
import type { FromWorker } from './messages.js';
import { unshareable } from './shareOf.js';
import { tell, WorkerHub } from './WorkerHub.js';

const BACKOFF = Object.freeze({ initialMs: 250, maxMs: 10_000, jitterRatio: 0.2 });
/** A worker that lived so long has not failed to start, in ms. */
const STABLE_MS = 30_000;
/** Beyond what a worker's own stop may take. */
const MARGIN_MS = 5_000;
/** How long workers may take to force their stop. */
const FORCED_MS = 5_000;
/** How long they may take to read the config. */
const RELOAD_MS = 10_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const;

/**
 * The primary of `serve --workers N`: starts the workers, which share one port, replaces one that ended, brings them what the others
 * say, and stops them all. Resolves when all of them serve, or it has failed to.
 */
export async function serveWorkers(options: ServeOptions & { readonly workers: number }): Promise<void> {
  const output = options.json === true ? jsonOutput : textOutput;
  const { workers, graceMs, propagationDelay: propagationDelayMs } = options;
  const problem = await problemOf(options);
  if (problem !== undefined) {
    output.failure(problem);
    process.exitCode = 1;
    return;
  }
  const sessionKeys = (await readSessionKeys(options.sessionKey)) ?? [randomBytes(32).toString('hex')];
  closeInheritedDescriptors();
  const primary = new Primary(output, {
    workers,
    sessionKeys,
    port: options.port,
    stopMs: stopBudgetMs({ graceMs, propagationDelayMs }),
  });
  await primary.start();
}

async function problemOf(options: ServeOptions & { readonly workers: number }): Promise<string | undefined> {
  if (options.stdio === true) return '--workers: a client of stdin and stdout has one process';
  if (options.sse === true) return '--workers and --sse do not go together: such a session lives on one connection';
  if (options.exitUnusedMs !== undefined) return '--workers and --exit-unused-ms do not go together';
  const { file, servers } = await loadConfig(options.config);
  const itself = servedAbove(file);
  if (itself !== undefined) return itself;
  const why = servers.map((each) => unshareable(each, options)).find((each) => each !== undefined);
  return why === undefined ? undefined : `--workers ${options.workers}: ${why}`;
}

interface PrimaryOptions {
  readonly workers: number;
  readonly sessionKeys: readonly string[];
  readonly port: number;
  readonly stopMs: number;
}

class Primary {
  readonly #output: Output;
  readonly #options: PrimaryOptions;
  readonly #hub = new WorkerHub(systemClock, (worker) => {
    this.#output.warning(`worker ${this.#running.get(worker)} (pid ${worker.process.pid}) does not read: it is killed`);
    worker.process.kill('SIGKILL');
  });
  readonly #running = new Map<Worker, number>();
  readonly #ready = new Map<Worker, Ready>();
  readonly #stop = new AbortController();
  /** One after the other. */
  #reloading = Promise.resolve(false);
  readonly #onReloaded = new Map<Worker, (changed: boolean) => void>();
  /** Where they listen. */
  #port: number | undefined;
  /** Those that were told to listen on any port: together they have one, which goes with the last of them. */
  readonly #onAny = new Set<Worker>();
  #told = false;
  /** A worker ended without a stop of its own, at any time: its servers may live until another worker starts or the sweep at the end. */
  #crashed = false;
  #failures = 0;
  /** Clock ms at which the stop began. */
  #stoppingMs = 0;
  /** The exit code of a stop that a second signal forced. */
  #forcedCode: number | undefined;

  constructor(output: Output, options: PrimaryOptions) {
    this.#output = output;
    this.#options = options;
  }

  async start(): Promise<void> {
    cluster.setupPrimary({ silent: false });
    for (const signal of SIGNALS) process.on(signal, () => this.#onSignal(signal));
    onHangup({
      reload: () => (this.#reloading = this.#reloading.then(() => this.#reload())),
      stop: () => void this.#end('SIGHUP'),
    });
    for (let number = 1; number <= this.#options.workers; number++) this.#fork(number);
    await this.#allReady().catch((error: unknown) => {
      // A stop meanwhile ends the process once its workers have ended.
      if (!this.#stop.signal.aborted) throw error;
    });
  }

  #fork(number: number): void {
    const worker = cluster.fork();
    const bornMs = systemClock.now();
    this.#running.set(worker, number);
    closeUntaken(worker);
    worker.on('message', (message: FromWorker) => this.#heard(worker, number, message));
    worker.on('listening', ({ port }) => {
      this.#port ??= port;
      // The last of those that shared the port ended before this one joined them: clients know no other.
      if (port !== this.#port) worker.process.kill('SIGKILL');
    });
    worker.on('error', (error) => this.#output.warning(`worker ${number}: ${error.message}`));
    worker.once('exit', (code, signal) => {
      this.#running.delete(worker);
      this.#onAny.delete(worker);
      const served = this.#ready.delete(worker);
      this.#hub.gone(worker);
      this.#onReloaded.get(worker)?.(false);
      this.#onExit(number, { code, signal, served, lifeMs: systemClock.now() - bornMs, pid: worker.process.pid });
    });
  }

  #heard(worker: Worker, number: number, message: FromWorker): void {
    if (message.type === 'reloaded') {
      this.#onReloaded.get(worker)?.(message.changed);
      return;
    }
    if (message.type !== 'output') {
      this.#hub.heard(worker, message);
      // Not before: it listens from its first word on.
      if (message.type === 'hello') this.#begin(worker);
      return;
    }
    const { name, args } = message;
    if (name === 'ready') {
      this.#ready.set(worker, args[0] as Ready);
      if (this.#told) this.#output.event('worker', { worker: number, pid: worker.process.pid, state: 'ready' });
      return;
    }
    if (name !== 'event') {
      (this.#output[name] as (...given: readonly unknown[]) => void)(...args);
      return;
    }
    const [event, fields] = args as [string, object];
    // The primary says so itself, once.
    if (event === 'stopping' || event === 'stopped') return;
    this.#output.event(event, { ...fields, worker: number });
  }

  #begin(worker: Worker): void {
    const { sessionKeys, workers, port: asked } = this.#options;
    const any = asked === 0 && (this.#port === undefined || this.#onAny.size > 0);
    if (any) this.#onAny.add(worker);
    tell(worker, { type: 'begin', sessionKeys, share: { workers }, port: any ? 0 : (this.#port ?? asked) });
  }

  #onExit(
    number: number,
    exit: { code: number | null; signal: string | null; served: boolean; lifeMs: number; pid: number | undefined },
  ): void {
    const { code, signal, pid, served, lifeMs } = exit;
    if (this.#stop.signal.aborted) {
      // One that could not listen to our own signal yet had no servers.
      if (code === 0 || signal === 'SIGTERM' || signal === 'SIGHUP') return;
      process.exitCode = code ?? 1;
      this.#crashed = true;
      return;
    }
    this.#crashed = true;
    // What keeps the first of them from serving keeps the others, too.
    if (!served && !this.#told) {
      process.exitCode = code === 0 || code === null ? 1 : code;
      void this.#end('a worker could not start');
      return;
    }
    this.#failures = lifeMs >= STABLE_MS ? 1 : this.#failures + 1;
    const waitMs = backoffMs(this.#failures, BACKOFF);
    this.#output.event('worker', { worker: number, pid, state: 'exited', code, signal, backoffMs: Math.round(waitMs) });
    this.#output.warning(
      `worker ${number} (pid ${pid}) ended by itself, ${signal ?? `with code ${code}`}: another follows`,
    );
    sleep(systemClock, waitMs, { signal: this.#stop.signal }).then(
      () => this.#fork(number),
      () => undefined,
    );
  }

  /** Says so once, with what the first of them serves. */
  async #allReady(): Promise<void> {
    while (this.#ready.size < this.#options.workers) await sleep(systemClock, 20, { signal: this.#stop.signal });
    const [first] = this.#ready.values();
    const workers = [...this.#running.keys()].map(({ process: { pid } }) => pid ?? 0);
    this.#told = true;
    if (first !== undefined) this.#output.ready({ ...first, workers });
  }

  #onSignal(signal: NodeJS.Signals): void {
    if (!this.#stop.signal.aborted) {
      void this.#end(signal);
      return;
    }
    // A terminal and npm both deliver one Ctrl-C.
    if (systemClock.now() - this.#stoppingMs < LISTEN_DEFAULTS.repeatMs) return;
    this.#forcedCode ??= 128 + constants.signals[signal];
    // A second one is for them as well: they force their stop. One that cannot is killed.
    this.#kill('SIGTERM');
    setTimeout(() => this.#kill('SIGKILL'), FORCED_MS).unref();
  }

  /**
   * Whether the config says something else than before: each worker reads it. One that has not said what it serves reads it as it is now
   * anyway.
   */
  async #reload(): Promise<boolean> {
    const changes = [...this.#ready.keys()].map((worker) => {
      const changed = new Promise<boolean>((resolve) => this.#onReloaded.set(worker, resolve));
      tell(worker, { type: 'reload' });
      return changed.finally(() => this.#onReloaded.delete(worker));
    });
    const late = (): Error => new Error('a worker does not answer');
    const all = within(Promise.all(changes), { clock: systemClock, timeoutMs: RELOAD_MS, late });
    // One that hangs says nothing of the config: that is no reason for a stop.
    return all.then(
      (each) => each.includes(true),
      () => true,
    );
  }

  #kill(signal: NodeJS.Signals): void {
    for (const worker of this.#running.keys()) worker.process.kill(signal);
  }

  /** Stops all workers, each as it stops alone; one that does not end is killed, and then its servers are. */
  async #end(reason: string): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stoppingMs = systemClock.now();
    this.#stop.abort(new Error(reason));
    this.#output.event('stopping', { reason });
    const exits = [...this.#running.keys()].map((worker) => once(worker, 'exit'));
    this.#kill('SIGTERM');
    const timeoutMs = this.#options.stopMs + MARGIN_MS;
    const late = (): Error => new Error('workers did not stop');
    try {
      await within(Promise.all(exits), { clock: systemClock, timeoutMs, late });
    } catch {
      this.#output.failure(`${this.#running.size} worker(s) did not stop within ${timeoutMs} ms`);
      process.exitCode = 1;
      this.#kill('SIGKILL');
      await within(Promise.all(exits), { clock: systemClock, timeoutMs: FORCED_MS }).catch(() => undefined);
    }
    if (this.#crashed) await this.#sweep();
    const exitCode = this.#forcedCode ?? Number(process.exitCode ?? 0);
    if (exitCode === 0)
      this.#output.event('stopped', { exitCode, ms: Math.round(systemClock.now() - this.#stoppingMs) });
    await endProcess(exitCode);
  }

  /** Ends the servers of workers that were killed. */
  async #sweep(): Promise<void> {
    const keeper = new LedgerKeeper(
      {},
      {
        clock: systemClock,
        onSwept: ({ swept }) => this.#output.event('swept', { servers: swept.map(({ name }) => name) }),
        onFailure: (error) => this.#output.warning(messageOf(error)),
      },
    );
    await keeper.ready;
  }
}
