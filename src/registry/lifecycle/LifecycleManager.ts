import { systemClock } from '../../core/clock.js';
import { CLOSE_DEFAULTS, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import type { GracePeriod } from '../../core/close/GracePeriod.js';
import { ClosedError, OptionError, QueueFullError, ServerNotFoundError } from '../../core/errors.js';
import { Emitter, type Listener } from '../../core/events.js';
import { silentLogger } from '../../core/logger.js';
import { checkCount, checkFunction, checkMs, checkText, withDefaults } from '../../core/options.js';
import { failuresOf } from '../../core/wait/settleAll.js';
import type { ManagedProcess, StopOptions } from '../process/ManagedProcess.js';
import { readProcessTable } from '../process/processTable.js';
import type { LifecycleEvents } from './events.js';
import { LedgerKeeper } from './LedgerKeeper.js';
import { ManagedServer, type ServerHost } from './ManagedServer.js';
import {
  checkConfig,
  LIFECYCLE_MANAGER_DEFAULTS,
  type LifecycleConfig,
  type LifecycleManagerOptions,
} from './options.js';
import type { ServerStatus } from './state.js';

/**
 * A started server. It stays good over restarts; `process` is then another. Once it is removed, `stop`, `kill` and
 * `remove` have nothing left to do, and `restart` is refused, also when another server has its id by then.
 */
export interface ServerHandle {
  readonly id: string;
  readonly name: string;
  /** The process that runs, or ran last. */
  readonly process: ManagedProcess;
  status(): ServerStatus;
  stop(options?: StopOptions): Promise<void>;
  kill(): Promise<void>;
  restart(options?: StopOptions): Promise<void>;
  remove(options?: StopOptions): Promise<void>;
}

/**
 * Owns child processes: each is in a group of its own, is on the ledger before it exists, is restarted as its policy
 * says, and is proved dead when it is stopped, with all that came from it. What a killed owner left is ended by the next
 * manager with the same ledger before its first start.
 *
 * An id stays known after its end, for `status` and `restart`, until it is removed or `forgetAfterMs` is over.
 * `close` stops all in parallel; its `graceMs` bounds each stop's polite part (0 kills at once).
 */
export class LifecycleManager implements AsyncDisposable {
  readonly #events: Emitter<LifecycleEvents>;
  readonly #scope: CloseScope;
  readonly #servers = new Map<string, ManagedServer>();
  readonly #host: ServerHost;
  readonly #ledger: LedgerKeeper;
  readonly #forgetAfterMs: number;
  readonly #maxServers: number;
  #named = 0;

  /** @throws OptionError */
  constructor(options: LifecycleManagerOptions = {}) {
    const others = { logger: true, clock: true, ledger: true, random: true } as const;
    const all = withDefaults('LifecycleManager', options, LIFECYCLE_MANAGER_DEFAULTS, others);
    const { clock = systemClock, logger = silentLogger, random = Math.random, ledger = {} } = all;
    this.#forgetAfterMs = checkMs('forgetAfterMs', all.forgetAfterMs, { infinity: true });
    this.#maxServers = checkCount('maxServers', all.maxServers, { min: 1 });
    checkFunction('random', random);
    if (ledger !== false) {
      const { directory } = withDefaults('ledger', ledger as { directory?: string }, {}, { directory: true });
      if (directory !== undefined) checkText('ledger.directory', directory);
    }
    const reapIntervalMs = checkMs('reapIntervalMs', all.reapIntervalMs, { min: 1, infinity: true });
    this.#events = new Emitter((error, event) => logger.error({ error, event }, 'a lifecycle listener failed'));
    this.#scope = new CloseScope('LifecycleManager', { clock, logger, onRelease: (grace) => this.#release(grace) });
    this.#ledger = new LedgerKeeper(ledger, {
      clock,
      onSwept: (report) => {
        logger.warn({ ...report }, 'children of an owner that is gone were found');
        this.#events.emit('swept', report);
      },
      onFailure: (error) => {
        logger.error({ error }, 'the ledger cannot be kept: children would outlive a killed owner');
        this.#events.emit('ledgerFailed', { error });
      },
    });
    this.#host = {
      clock,
      logger,
      random,
      ledger: this.#ledger,
      trackUser: (name, promise) => this.#scope.trackUser(name, promise),
      emit: (event, payload) => {
        if (!this.#events.emit(event, payload) && event === 'failed') logger.warn({ ...payload }, 'a server failed');
      },
    };
    this.#scope.every('reaper', reapIntervalMs, () => this.refresh());
  }

  /**
   * Starts a program under a new id, or under one that is known and over. Resolves when it is ready. A first start that
   * fails is not repeated; what came of it is dead by then, and its id stays known as `failed`.
   * @throws StartError; ServerStoppedError or ClosedError when it is stopped meanwhile; OptionError also for an id in
   * use; QueueFullError when `maxServers` are known and alive
   */
  async start(config: LifecycleConfig): Promise<ServerHandle> {
    this.#scope.assertOpen();
    const checked = checkConfig(config);
    const id = checked.id ?? this.#newId(checked.name);
    let server = this.#servers.get(id);
    if (server === undefined) {
      this.#makeRoom();
      server = new ManagedServer(id, checked, this.#host);
      this.#servers.set(id, server);
    } else {
      if (!server.idle) throw new OptionError('id', id, 'an id that is not in use');
      server.config = checked;
    }
    await server.start();
    return this.#handle(server);
  }

  /** Resolves when it is dead, with all that came from it. A later call may only shorten an earlier one's grace. */
  async stop(id: string, options: StopOptions = {}): Promise<void> {
    await stopServer(this.#find(id), options);
  }

  /** SIGKILL at once. */
  kill(id: string): Promise<void> {
    return this.stop(id, { graceMs: 0 });
  }

  /** Stop, then start; never two at once. All who ask while it lasts share it. Works on an id that is over too. */
  async restart(id: string, options: StopOptions = {}): Promise<void> {
    this.#scope.assertOpen();
    checkGrace(options);
    await this.#find(id).restart(options);
  }

  /** Stops it if need be, and forgets the id. */
  async remove(id: string, options: StopOptions = {}): Promise<void> {
    await this.#remove(this.#find(id), options);
  }

  /** @throws ServerNotFoundError */
  status(id: string): ServerStatus {
    return this.#find(id).status;
  }

  list(): ServerStatus[] {
    return [...this.#servers.values()].map((server) => server.status);
  }

  /** Reads what each server takes, notices exits that gave no event, forgets the long dead. The reaper's own work. */
  async refresh(): Promise<void> {
    const servers = [...this.#servers.values()];
    const running = servers.filter(({ process }) => process !== undefined && process.exitInfo === undefined);
    if (running.length > 0) {
      const table = await readProcessTable();
      for (const server of running) server.sample(table);
    }
    const now = this.#host.clock.now();
    for (const server of servers) {
      if (!server.idle) continue;
      if (server.needsProof) server.proveAgain();
      else if (now - server.overSinceMs >= this.#forgetAfterMs) this.#forget(server);
    }
  }

  /** What it looks after, for a debug page. */
  inspect(): { readonly servers: readonly ServerStatus[]; readonly maxServers: number; readonly closing: boolean } {
    return { servers: this.list(), maxServers: this.#maxServers, closing: this.#scope.closing };
  }

  /** Resolves when what dead owners left is ended. Starts wait for it by themselves. */
  swept(): Promise<void> {
    return this.#ledger.ready;
  }

  on<K extends keyof LifecycleEvents>(event: K, listener: Listener<LifecycleEvents[K]>): Disposable {
    return this.#events.on(event, listener);
  }

  /**
   * Stops every server in parallel. Resolves when all are dead.
   * @throws AggregateError (as a rejection) naming what would not end
   */
  close(options: CloseOptions = {}): Promise<void> {
    const closing = this.#scope.close(options);
    // Not after the users' functions that close waits for: those may be waiting for these very servers.
    const valid = options.graceMs === undefined || options.graceMs >= 0;
    if (this.#scope.closing && valid) void this.#stopAll(options);
    return closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #release(grace: GracePeriod): Promise<void> {
    const errors = await failuresOf([this.#ledger.ready, ...this.#stopAll({ graceMs: grace.remainingMs })]);
    this.#events.clear();
    if (errors.length > 0) throw new AggregateError(errors, `${errors.length} server(s) could not be ended`);
  }

  #stopAll({ graceMs = CLOSE_DEFAULTS.graceMs }: CloseOptions): Promise<void>[] {
    const reason = new ClosedError('LifecycleManager');
    this.#ledger.shorten(graceMs);
    return [...this.#servers.values()].map((server) => {
      const stopped = server.stop({ graceMs }, reason);
      // Who closes hears of it; a stop begun early is waited for later.
      stopped.catch(() => undefined);
      return stopped;
    });
  }

  #find(id: string): ManagedServer {
    const server = this.#servers.get(id);
    if (server === undefined) throw new ServerNotFoundError(id);
    return server;
  }

  async #remove(server: ManagedServer, options: StopOptions): Promise<void> {
    checkGrace(options);
    if (!server.idle || server.needsProof) await server.stop(options);
    // A start that came meanwhile keeps it.
    if (server.idle && !server.needsProof) this.#forget(server);
  }

  #newId(name: string): string {
    let id: string;
    do id = `${name}-${++this.#named}`;
    while (this.#servers.has(id));
    return id;
  }

  #makeRoom(): void {
    if (this.#servers.size < this.#maxServers) return;
    let oldest: ManagedServer | undefined;
    for (const server of this.#servers.values()) {
      if (server.idle && !server.needsProof && (oldest === undefined || server.overSinceMs < oldest.overSinceMs))
        oldest = server;
    }
    if (oldest === undefined) throw new QueueFullError('LifecycleManager', this.#servers.size, this.#maxServers);
    this.#forget(oldest);
  }

  #forget(server: ManagedServer): void {
    if (this.#servers.get(server.id) !== server) return;
    this.#servers.delete(server.id);
    this.#events.emit('removed', { id: server.id, name: server.config.name });
  }

  #handle(server: ManagedServer): ServerHandle {
    const { id } = server;
    return {
      id,
      name: server.config.name,
      get process() {
        return server.process as ManagedProcess;
      },
      status: () => server.status,
      // By the server, not by its id, which may be another's once this one is removed.
      stop: (options = {}) => stopServer(server, options),
      kill: () => stopServer(server, { graceMs: 0 }),
      restart: async (options) => {
        if (this.#servers.get(id) !== server) throw new ServerNotFoundError(id);
        await this.restart(id, options);
      },
      remove: (options = {}) => this.#remove(server, options),
    };
  }
}

async function stopServer(server: ManagedServer, options: StopOptions): Promise<void> {
  checkGrace(options);
  await server.stop(options);
}

function checkGrace({ graceMs }: StopOptions): void {
  if (graceMs !== undefined) checkMs('graceMs', graceMs, { infinity: true });
}
