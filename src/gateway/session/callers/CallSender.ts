import type { Clock } from '../../../core/clock.js';
import type { Logger } from '../../../core/logger.js';
import { Cancellation, signalOf } from '../../../core/wait/Cancellation.js';
import type { Caller, RequestOptions } from '../../../pool/McpPool.js';
import { isItself } from '../../../pool/server/calls/trace.js';
import type { CallOptions, Downstream } from '../../endpoint/Endpoint.js';
import type { GatewayPool } from '../../GatewayOptions.js';
import type { Params } from '../../rpc/envelope.js';
import { levelOf } from '../../rpc/levels.js';
import type { OwnTasks } from '../OwnTasks.js';
import type { CallerTable } from './CallerTable.js';
import { CallsInFlight } from './CallsInFlight.js';
import { ServerLevels } from './ServerLevels.js';

export interface CallSenderOptions {
  readonly pool: GatewayPool;
  readonly table: CallerTable;
  /** The principal whose calls these are. */
  readonly base: Caller | undefined;
  /** What their servers made for whom. */
  readonly tasks: OwnTasks;
  readonly callIdleMs: number;
  /** Large results may come in pieces. */
  readonly inPieces: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Longest that a server may take to accept a log level ahead of a call, in ms. */
const LEVEL_TIMEOUT_MS = 5_000;

/** Calls on their way to the pool, counted by server and session while they run. */
export class CallSender {
  readonly #options: CallSenderOptions;
  readonly calls: CallsInFlight;
  readonly #levels: ServerLevels;

  constructor(options: CallSenderOptions) {
    this.#options = options;
    this.calls = new CallsInFlight(options.clock);
    this.#levels = new ServerLevels(options.logger);
  }

  /** A call of a session as it is. */
  async send(
    server: string,
    session: Downstream,
    method: string,
    params: Params | undefined,
    call: CallOptions,
  ): Promise<unknown> {
    const { pool, table } = this.#options;
    const flight = this.calls.begin(server, session, call.onNotification);
    try {
      for (let again = false; ; again = true) {
        try {
          const result = await pool.request(server, method, params, this.#optionsOf(server, session, call));
          if (method === 'logging/setLevel') this.#levels.accepted(this.#info(server, session), params?.['level']);
          return result;
        } catch (error) {
          // Once more, as another caller.
          if (again || !table.failed(server, session, error)) throw error;
        }
      }
    } catch (error) {
      this.#options.tasks.demanded(server, session, error);
      flight.failed(error);
      throw error;
    } finally {
      flight.end();
    }
  }

  /** Has a legacy server log what the caller of a call wants to be told. `up` makes a connection of its own, if it is to have one. */
  async leveled(
    server: string,
    session: Downstream,
    level: unknown,
    { signal, address }: { readonly signal: AbortSignal; readonly address: string | undefined },
    up: () => Promise<unknown>,
  ): Promise<void> {
    const { pool, table } = this.#options;
    const { sharing, timeouts } = pool.config(server) ?? {};
    // Of a session's own connection the server was told by the session; of a leased one the next call may have another.
    if (typeof level !== 'string' || sharing === 'leased' || (sharing === 'bound' && session.era === 'legacy')) return;
    if (sharing === 'bound') await up();
    const caller = table.of(server, session, address);
    const timeoutMs = Math.min(LEVEL_TIMEOUT_MS, timeouts?.default ?? LEVEL_TIMEOUT_MS);
    const options = { signal, timeoutMs, ...(caller && { caller }) };
    await this.#levels.ensure(this.#info(server, session), level, () =>
      pool.request(server, 'logging/setLevel', { level }, options),
    );
  }

  #info(server: string, session: Downstream) {
    const { pool, table, base } = this.#options;
    return pool.info(server, table.of(server, session) ?? base ?? {});
  }

  /**
   * A call's options as the pool takes them. On a connection of the session's own, what came on no call's stream takes the
   * way of the pool's events, since with several calls in flight it belongs to none for sure.
   */
  #optionsOf(server: string, session: Downstream, given: CallOptions): RequestOptions & { readonly raw: true } {
    const { pool, table, tasks, callIdleMs: timeoutMs, inPieces } = this.#options;
    const config = pool.config(server);
    const caller = table.of(server, session, given.address);
    const { signal, paramsText, client, toolDefinition, parent, onProgress, onNotification } = given;
    const onRequest = tasks.asking(server, session, given.onRequest);
    const cancellation = signal instanceof Cancellation && isItself(pool) ? signal : undefined;
    const ownTimes = config?.timeouts !== undefined;
    // Every name each time: objects of one shape are copied and read fastest.
    return {
      raw: true,
      pauseWhileAsked: true,
      resetTimeoutOnProgress: true,
      timeoutMs: given.timeoutMs ?? (ownTimes ? undefined : timeoutMs),
      deadlineMs: given.deadlineMs,
      maxTotalTimeoutMs: ownTimes ? undefined : Number.POSITIVE_INFINITY,
      cancellation,
      signal: cancellation === undefined ? signalOf(signal) : undefined,
      paramsText,
      client,
      toolDefinition,
      parent,
      onLarge: inPieces ? given.onLarge : undefined,
      onProgress,
      onNotification: config?.sharing === 'bound' ? onNotification : hearing(session, onNotification),
      onRequest,
      caller,
      meter: undefined,
      meta: undefined,
      // A leased connection is this call's alone for as long as it runs.
      attributedOnly: session.era === 'legacy' && config?.sharing === 'bound',
    } as RequestOptions & { readonly raw: true };
  }
}

/** On a connection that others use too, a server may log more than this session asked for. */
function hearing(session: Downstream, tell: CallOptions['onNotification']): CallOptions['onNotification'] {
  if (tell === undefined || session.era === 'modern') return tell;
  return (notice) => {
    const below = levelOf(notice.params?.['level']) < levelOf(session.logLevel);
    if (notice.method !== 'notifications/message' || !below) tell(notice);
  };
}
