import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { inTurn } from '../../core/time/turns.js';
import { ManagedProcess } from '../process/ManagedProcess.js';
import type { ProcessTable } from '../process/processTable.js';
import type { LedgerKeeper } from './LedgerKeeper.js';
import { type FullLifecycleConfig, processTimes } from './options.js';
import type { ProcessRecord } from './record.js';
import { type ServerUsage, UsageMeter } from './usage.js';

export interface RunContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ledger: LedgerKeeper;
}

/** One run of a program: on the ledger before it exists, off it when it is proved dead. */
export class ServerRun {
  readonly process: ManagedProcess;
  /** By the monotonic clock. */
  readonly startedMs: number;
  /** Settles, always well, once the ledger knows who it became. */
  readonly recorded: Promise<void>;
  readonly #record: ProcessRecord | undefined;
  readonly #context: RunContext;
  readonly #meter: UsageMeter;
  #usage: ServerUsage | undefined;
  #ending: Promise<void> | undefined;
  #proved = false;

  /** @throws StartError; the signal's reason, when it aborts before the spawn. Nothing is left on the ledger then. */
  static async begin(config: FullLifecycleConfig, context: RunContext, signal: AbortSignal): Promise<ServerRun> {
    const { clock, logger, ledger } = context;
    const record = await ledger.intend(config.name, config);
    try {
      const token = record === undefined ? {} : { token: record.token };
      const options = { ...processTimes(config), clock, logger, ...token };
      // The system holds this process up for some ms. One that is not wanted any more when its turn comes is not started.
      const process = await inTurn(() => {
        signal.throwIfAborted();
        return ManagedProcess.spawn(config.name, config, options);
      });
      return new ServerRun(process, record, context);
    } catch (error) {
      if (record !== undefined) await ledger.forget(record);
      throw error;
    }
  }

  private constructor(process: ManagedProcess, record: ProcessRecord | undefined, context: RunContext) {
    this.process = process;
    this.startedMs = context.clock.now();
    this.#record = record;
    this.#context = context;
    this.#meter = new UsageMeter(this.startedMs);
    this.recorded = record === undefined ? Promise.resolve() : context.ledger.complete(record, process);
  }

  /** True when nothing of it can be alive. */
  get proved(): boolean {
    return this.#proved;
  }

  /** As last sampled; undefined before, and when its direct process has gone. */
  get usage(): ServerUsage | undefined {
    return this.process.exitInfo === undefined ? this.#usage : undefined;
  }

  /** Reads what it takes, and notices an exit that gave no event. */
  sample(table: ProcessTable): void {
    this.process.noticeLostExit();
    if (this.process.exitInfo !== undefined) return;
    const { clock } = this.#context;
    this.#usage = this.#meter.sample(this.process.group.membersIn(table), clock.now(), clock.wallNow());
  }

  /**
   * Ends it. One promise for all; a later call only shortens it, or tries anew after a failure.
   * @throws StillAliveError
   */
  end(graceMs = Number.POSITIVE_INFINITY): Promise<void> {
    const dead = this.process.stop({ graceMs });
    this.#ending ??= this.#settle(dead);
    return this.#ending;
  }

  async #settle(dead: Promise<void>): Promise<void> {
    try {
      await dead;
    } catch (error) {
      this.#ending = undefined;
      throw error;
    }
    this.#proved = true;
    await this.recorded;
    if (this.#record !== undefined) await this.#context.ledger.forget(this.#record);
  }
}
