import type { Connection, ConnectionLimits, DisconnectReason } from '../../src/connection/Connection.js';
import { ConnectionEvents } from '../../src/connection/ConnectionEvents.js';
import { Channel } from '../../src/connection/channel/Channel.js';
import type {
  CallOptions,
  Params,
  RequestHandler,
  ServerInfo,
  ServerNotice,
} from '../../src/connection/protocol/messages.js';
import { type CloseOptions, CloseScope } from '../../src/core/close/CloseScope.js';
import { ClosedError } from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import type { Connector, ConnectRequest } from '../../src/pool/connectors/Connector.js';
import type { PoolOptions } from '../../src/pool/server/options.js';
import { ServerPool } from '../../src/pool/server/ServerPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from './closeAfter.js';

export interface Message {
  readonly id?: number;
  readonly method: string;
  readonly params?: Params;
}

/** A server in memory, with the real channel in front of it. `echo` answers, `hang` never does, `crash` dies. */
export class MemoryConnection implements Connection {
  readonly server: string;
  readonly request_: ConnectRequest;
  readonly info: ServerInfo;
  readonly pid = undefined;
  readonly startedAt: number;
  readonly limits: ConnectionLimits;
  /** Everything that reached the server, in order. */
  readonly seen: Message[] = [];
  readonly channel: Channel;
  readonly #events: ConnectionEvents;
  readonly #scope: CloseScope;

  constructor(request: ConnectRequest, onMessage: (message: Message, connection: MemoryConnection) => void) {
    const { config, pool, options, onAnswer } = request;
    const { clock, logger } = pool;
    this.limits = { ...options, clock, maxTotalTimeoutMs: pool.maxTotalTimeoutMs };
    this.server = config.name;
    this.request_ = request;
    this.startedAt = clock.wallNow();
    this.info = {
      era: 'legacy',
      protocolVersion: '2025-11-25',
      capabilities: {},
      serverInfo: { name: config.name, version: '1' },
      instructions: undefined,
    };
    this.#events = new ConnectionEvents(config.name, silentLogger);
    const take = (text: string): void => {
      const message = JSON.parse(text) as Message;
      this.seen.push(message);
      onMessage(message, this);
    };
    this.channel = new Channel(
      {
        send: (call, text) => {
          this.channel.markSent(call, clock.now());
          queueMicrotask(() => take(text));
        },
        post: take,
      },
      {
        server: config.name,
        clock,
        logger,
        onAnswer,
        maxMessageBytes: options.maxMessageBytes,
        timeoutMs: options.timeoutMs,
        acquireTimeoutMs: options.acquireTimeoutMs,
        maxTotalTimeoutMs: pool.maxTotalTimeoutMs,
        onNotification: this.#events.notify,
        onRequest: this.#events.answer,
      },
    );
    this.#scope = new CloseScope(`connection to ${config.name}`, {
      clock,
      onDrain: () => this.channel.idle(),
      onDeadline: () => this.channel.fail('closed', new ClosedError('connection')),
      onRelease: () => this.die('closed', true),
    });
  }

  get alive(): boolean {
    return this.#events.death === undefined && !this.#scope.closing;
  }
  get counters() {
    return this.channel.counters;
  }
  get inFlight(): number {
    return this.channel.inFlight;
  }
  get unsentBytes(): number {
    return 0;
  }
  /** Calls of tools that reached it. */
  get calls(): string[] {
    return this.seen.filter(({ method }) => method === 'tools/call').map(({ params }) => params?.['name'] as string);
  }

  answer(id: number, result: unknown): void {
    this.channel.receive({ jsonrpc: '2.0', id, result });
  }

  /** Says something of its own. */
  say(message: object): void {
    this.channel.receive({ jsonrpc: '2.0', ...message });
  }

  die(why: string, expected = false): void {
    if (!this.#events.die({ expected, why })) return;
    this.channel.fail(why, expected ? new ClosedError('connection') : undefined);
    this.#events.tellDeath();
  }

  request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    return this.channel.request(method, params, options);
  }
  async notify(method: string, params?: Params): Promise<void> {
    this.seen.push({ method, ...(params && { params }) });
  }
  onClose(listener: (death: DisconnectReason) => void): Disposable {
    return this.#events.onClose(listener);
  }
  onNotification(listener: (notice: ServerNotice) => void): Disposable {
    return this.#events.onNotification(listener);
  }
  setRequestHandler(handler: RequestHandler | undefined): void {
    this.#events.setRequestHandler(handler);
  }
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }
}

/** Makes connections in memory and keeps them all. */
export class MemoryConnector implements Connector {
  readonly transports = ['stdio'] as const;
  readonly made: MemoryConnection[] = [];
  /** Runs before each start: throw to fail it, wait to delay it. */
  onStart: (request: ConnectRequest, attempt: number) => void | Promise<void> = () => undefined;
  onMessage: (message: Message, connection: MemoryConnection) => void = reply;
  attempts = 0;
  closed = false;

  get live(): MemoryConnection[] {
    return this.made.filter((each) => each.alive);
  }

  get last(): MemoryConnection {
    return this.made.at(-1) as MemoryConnection;
  }

  attributes(): boolean {
    return false;
  }

  async connect(request: ConnectRequest): Promise<Connection> {
    const { caller, credentials, signal } = request;
    await credentials.get(caller, signal);
    await this.onStart(request, ++this.attempts);
    signal.throwIfAborted();
    const connection = new MemoryConnection(request, (message, from) => this.onMessage(message, from));
    this.made.push(connection);
    return connection;
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

function reply({ id, method, params }: Message, connection: MemoryConnection): void {
  // An answer to a request of the server's has no method.
  if (id === undefined || method === undefined) return;
  const name = params?.['name'];
  if (name === 'hang') return;
  if (name === 'crash') connection.die('it crashed');
  else if (name === 'refuse') connection.say({ id, error: { code: -32602, message: 'no' } });
  else connection.answer(id, method === 'tools/call' ? params : {});
}

class MemoryPool extends ServerPool {
  constructor(connector: Connector, options: PoolOptions) {
    super('MemoryPool', connector, options);
  }
}

/** A pool of servers in memory on a clock that stands still. */
export function memoryPool(options: PoolOptions = {}) {
  const connector = new MemoryConnector();
  const clock = new FakeClock();
  const pool = closeAfter(new MemoryPool(connector, { clock, ...options }));
  const call = (name: string, given: Parameters<ServerPool['request']>[3] = {}): Promise<unknown> =>
    pool.request('s', 'tools/call', { name }, given);
  return { pool, connector, clock, call };
}

export const MEMORY = { name: 's', transport: 'stdio', command: 'none' } as const;

/** What a promise came to, as its error's code or its value. */
export function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => value,
    (error: unknown) => (error as { code?: unknown }).code ?? error,
  );
}
