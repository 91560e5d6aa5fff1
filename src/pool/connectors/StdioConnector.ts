import { randomUUID } from 'node:crypto';
import type { Connection } from '../../connection/Connection.js';
import { probeEra } from '../../connection/stdio/probeEra.js';
import { StdioConnection } from '../../connection/stdio/StdioConnection.js';
import type { Clock } from '../../core/clock.js';
import type { CloseOptions } from '../../core/close/CloseScope.js';
import { OptionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkMs, checkPart } from '../../core/options.js';
import { within } from '../../core/time/within.js';
import type { Era, StdioServerConfig } from '../../registry/config/ServerConfig.js';
import { LifecycleManager, type ServerHandle } from '../../registry/lifecycle/LifecycleManager.js';
import type { StopOptions } from '../../registry/process/ManagedProcess.js';
import { eraFor } from '../server/callers/callerKey.js';
import { type EraFinding, startInEra } from '../server/callers/startInEra.js';
import { type Connector, type ConnectRequest, commonOptions } from './Connector.js';

/** How long a stop may take at each of its steps, in ms. */
export interface StopTimes {
  /** How long a process may take to end by itself after the end of its stdin, in ms from 0. @defaultValue 2000 */
  readonly stdinGraceMs?: number;
  /** How long its group may take after SIGTERM, in ms from 0. @defaultValue 2000 */
  readonly termGraceMs?: number;
  /** How long it may take to vanish after SIGKILL, in ms; then it is reported as still alive. @defaultValue 2000 */
  readonly killProofMs?: number;
}

/** Who runs the processes, and how they are stopped. */
export interface StdioConnectorOptions extends StopTimes {
  /** Owns the processes; one is made by default. One handed in is not closed, and only loses what was started through here. @defaultValue one of its own */
  readonly lifecycle?: LifecycleManager;
  /** Where the manager made here keeps its ledger, so that what a killed owner left is ended by the next. `false`: nowhere. @defaultValue the user's state folder */
  readonly ledger?: { readonly directory: string } | false;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Where it logs. @defaultValue nowhere */
  readonly logger?: Logger;
}

/** The names of its options, beside what every pool takes. */
export const STDIO_OPTION_NAMES: { readonly [K in keyof Required<StdioConnectorOptions>]: true } = {
  lifecycle: true,
  ledger: true,
  clock: true,
  logger: true,
  stdinGraceMs: true,
  termGraceMs: true,
  killProofMs: true,
};

/** A silent probe ends after this long; the server it found silent then gets its own start time. */
const PROBE_TIMEOUT_MS = 5_000;

/** Makes stdio connections: each a process of the manager's, which never restarts it. The pool does. */
export class StdioConnector implements Connector {
  readonly transports = ['stdio'] as const;
  readonly #manager: LifecycleManager;
  /** Whether the manager was made for this pool and ends with it. */
  readonly #owned: boolean;
  readonly #times: StopTimes;
  readonly #handles = new WeakMap<Connection, ServerHandle>();
  /** Processes started through here that have not been proved dead. */
  readonly #live = new Set<ServerHandle>();

  /** @throws OptionError */
  constructor({ lifecycle, ledger, clock, logger, ...times }: StdioConnectorOptions) {
    const made = { ...(clock && { clock }), ...(logger && { logger }), ...(ledger !== undefined && { ledger }) };
    if (lifecycle !== undefined) checkPart('lifecycle', lifecycle, ['start', 'stop', 'close'], 'a LifecycleManager');
    this.#times = stopTimes(times);
    // Last, for it has a timer.
    this.#manager = lifecycle ?? new LifecycleManager(made);
    this.#owned = lifecycle === undefined;
  }

  /** One pipe carries the answers to all calls. */
  attributes(): boolean {
    return false;
  }

  async connect(request: ConnectRequest): Promise<Connection> {
    const { config, pool, caller, credentials, signal } = request;
    if (config.transport !== 'stdio') throw new OptionError('transport', config.transport, "'stdio'");
    const own = await within(credentials.get(caller, request.closing), { clock: pool.clock, signal });
    const target = own?.env === undefined ? config : { ...config, env: { ...config.env, ...own.env } };
    const wanted = eraFor(caller, request.options);
    // A server of either era takes `initialize`, or says that it is modern.
    if (wanted === 'legacy') return this.#open(target, request, 'legacy');
    if (wanted === undefined && request.options.era !== 'auto') return this.#open(target, request, request.options.era);
    return startInEra(
      request,
      request.fingerprint,
      () => this.#probe(target, request),
      (era) => {
        if (caller?.eraOnly !== true || era === wanted) return this.#open(target, request, era);
        return Promise.reject(
          new OptionError('caller.era', wanted, `'${era}': server '${config.name}' speaks no other`),
        );
      },
    );
  }

  kill(): void {
    // A failure is reported by the close that waits for the same end.
    for (const handle of this.#live) void handle.remove({ graceMs: 0 }).catch((error: unknown) => error);
  }

  memoryBytes(connection: Connection): number | undefined {
    return this.#handles.get(connection)?.status().usage?.residentBytes;
  }

  async close(options?: CloseOptions): Promise<void> {
    if (this.#owned) await this.#manager.close(options);
  }

  async #open(target: StdioServerConfig, request: ConnectRequest, era: Era): Promise<Connection> {
    const handle = await this.#start(target, request);
    handle.process.onStderr((line) => request.onStderr(line, handle.process.pid));
    const end = { stop: () => this.#remove(handle), kill: () => this.#remove(handle, { graceMs: 0 }) };
    const connection = await StdioConnection.open(handle.process, { ...commonOptions(request), era, end });
    this.#handles.set(connection, handle);
    return connection;
  }

  async #probe(target: StdioServerConfig, request: ConnectRequest): Promise<EraFinding> {
    const handle = await this.#start(target, request);
    try {
      return await probeEra(handle.process, {
        ...commonOptions(request),
        probeTimeoutMs: Math.min(PROBE_TIMEOUT_MS, request.leftMs() / 2),
      });
    } finally {
      await this.#remove(handle, { graceMs: 0 });
    }
  }

  async #remove(handle: ServerHandle, options?: StopOptions): Promise<void> {
    await handle.remove(options);
    this.#live.delete(handle);
  }

  async #start(target: StdioServerConfig, { signal }: ConnectRequest): Promise<ServerHandle> {
    signal.throwIfAborted();
    const { name, command, args, env, cwd, inheritEnv } = target;
    const id = `${name}#${randomUUID()}`;
    const onAbort = (): void => void this.#manager.stop(id, { graceMs: 0 }).catch(() => undefined);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const handle = await this.#manager.start({
        id,
        name,
        command,
        ...(args && { args }),
        ...(env && { env }),
        ...(cwd !== undefined && { cwd }),
        ...(inheritEnv && { inheritEnv }),
        ...this.#times,
        restart: 'never',
      });
      this.#live.add(handle);
      return handle;
    } catch (error) {
      // It stays known as failed, and no caller will ask for it.
      if (this.#manager.list().some((status) => status.id === id)) await this.#manager.remove(id);
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** Only what is set: the manager has defaults of its own. */
function stopTimes({ stdinGraceMs, termGraceMs, killProofMs }: StopTimes): StopTimes {
  return {
    ...(stdinGraceMs !== undefined && { stdinGraceMs: checkMs('stdinGraceMs', stdinGraceMs) }),
    ...(termGraceMs !== undefined && { termGraceMs: checkMs('termGraceMs', termGraceMs) }),
    ...(killProofMs !== undefined && { killProofMs: checkMs('killProofMs', killProofMs) }),
  };
}
