import { constants } from 'node:os';
import type { Clock } from '../../core/clock.js';
import { endProcess } from '../../core/close/endProcess.js';
import { runLastResort } from '../../core/close/lastResort.js';
import { thrown } from '../../core/errors/thrown.js';
import { tellListener } from '../../core/events.js';
import type { Logger } from '../../core/logger.js';
import { checkBoolean, checkMs, withDefaults } from '../../core/options.js';
import { within } from '../../core/time/within.js';
import type { ForceOptions } from './planOptions.js';
import type { ShutdownReport } from './ShutdownReport.js';

/**
 * Exit codes: 0 when nothing critical failed, 1 when something did or an uncaught error was the cause, 128 + the
 * signal's number (129 for SIGHUP, 130 for SIGINT, 131 for SIGQUIT, 143 for SIGTERM) when a second signal forced it. One that a disk
 * does not answer is killed 5 s after its end (SIGKILL).
 */
export interface ListenOptions {
  /**
   * Which signals shut down. SIGHUP, which a closed terminal sends, and SIGQUIT (Ctrl-\) are some: unhandled they end the process without a stop
   * and leaves children behind. Leave it out where it means something else, such as reading the config again.
   * @defaultValue ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']
   */
  readonly signals?: readonly NodeJS.Signals[];
  /** Ends the process when the plan is through. Without it, only `process.exitCode` is set. @defaultValue false */
  readonly exit?: boolean;
  /** An uncaught exception shuts down too, with exit code 1. @defaultValue false */
  readonly uncaughtException?: boolean;
  /** An unhandled rejection shuts down too, with exit code 1. @defaultValue false */
  readonly unhandledRejection?: boolean;
  /** After a second signal everything that is left gets this many ms; a third exits at once. @defaultValue 1000 */
  readonly forceMs?: number;
  /**
   * Signals within this many ms of the first are the same wish: a terminal and npm both deliver one Ctrl-C.
   * @defaultValue 300
   */
  readonly repeatMs?: number;
  /** Called with the report before the process exits. @defaultValue none */
  readonly onReport?: (report: ShutdownReport) => void;
}

export const LISTEN_DEFAULTS = Object.freeze({
  signals: Object.freeze(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const),
  exit: false,
  uncaughtException: false,
  unhandledRejection: false,
  forceMs: 1_000,
  repeatMs: 300,
});

/** How long output that was written may take to leave the process. */
const FLUSH_MS = 500;

/** The plan, as far as signals have to do with it. */
interface Stoppable {
  readonly stopping: boolean;
  readonly signal: AbortSignal;
  shutdown(reason?: string, options?: { readonly cause?: unknown }): Promise<ShutdownReport>;
  force(reason: string, options?: ForceOptions): Promise<ShutdownReport>;
}

export function listenForSignals(plan: Stoppable, clock: Clock, logger: Logger, given: ListenOptions): Disposable {
  const options = withDefaults('listen', given, LISTEN_DEFAULTS, { onReport: true });
  const exit = checkBoolean('exit', options.exit);
  const forceMs = checkMs('forceMs', options.forceMs);
  const repeatMs = checkMs('repeatMs', options.repeatMs);
  const errors = (['uncaughtException', 'unhandledRejection'] as const).filter((event) =>
    checkBoolean(event, options[event]),
  );
  const listeners = new Map<string, (...args: never[]) => void>();
  let firstMs: number | undefined;
  let forced = false;

  const listen = (event: string, listener: (...args: never[]) => void): void => {
    listeners.set(event, listener);
    process.on(event, listener as () => void);
  };
  const remove = (): void => {
    plan.signal.removeEventListener('abort', onShutdown);
    for (const [event, listener] of listeners) process.off(event, listener as () => void);
    listeners.clear();
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    const exitCode = 128 + constants.signals[signal];
    if (firstMs === undefined) {
      firstMs = clock.now();
      void plan.shutdown(signal);
    } else if (clock.now() - firstMs < repeatMs) logger.debug({ signal }, 'the same wish again');
    else if (forced && exit) {
      // Patience is over: nothing is waited for, but no child outlives us either.
      runLastResort();
      void endProcess(exitCode);
    } else {
      forced = true;
      void plan.force(signal, { withinMs: forceMs, exitCode });
    }
  };
  const onEnd = async (report: ShutdownReport): Promise<void> => {
    if (listeners.size === 0) return;
    if (options.onReport !== undefined) {
      tellListener(options.onReport, report, (error) => logger.error({ error }, 'onReport failed'));
    }
    if (report.exitCode !== 0) process.exitCode = report.exitCode;
    if (exit) {
      const flushes = Promise.all([flushed(process.stdout), flushed(process.stderr)]);
      await within(flushes, { clock, timeoutMs: FLUSH_MS }).catch(() => undefined);
      runLastResort();
      await endProcess();
    }
    remove();
  };
  // However the shutdown began, by a signal or by the program itself, its end is ours.
  const onShutdown = (): void => void plan.shutdown().then(onEnd);

  for (const signal of options.signals) listen(signal, () => onSignal(signal));
  for (const event of errors) {
    listen(event, (given: unknown) => {
      const error = thrown(given);
      logger.error({ error }, event);
      void plan.shutdown(event, { cause: error });
    });
  }
  // The process would end by itself, without a shutdown: files may still want their flush.
  listen('beforeExit', () => {
    if (!plan.stopping) void plan.shutdown('beforeExit');
  });
  plan.signal.addEventListener('abort', onShutdown);
  if (plan.stopping) onShutdown();
  return { [Symbol.dispose]: remove };
}

/** What was written has left the process: a pipe may be slow, and `process.exit` would cut it off. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableLength === 0 || stream.destroyed) resolve();
    else stream.write('', () => resolve());
  });
}
