import type { Timer } from '../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { ClosedError, messageOf, NotSentError, QueueFullError, StartError } from '../../core/errors.js';
import { limitedLogger } from '../../core/limitedLogger.js';
import type { Logger } from '../../core/logger.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { ManagedProcess } from '../../registry/process/ManagedProcess.js';
import type { Connection, ConnectionLimits, ConnectionOptions, DisconnectReason } from '../Connection.js';
import { ConnectionEvents } from '../ConnectionEvents.js';
import { Channel, type ChannelCounters } from '../channel/Channel.js';
import type { RawReply } from '../channel/codec/envelope.js';
import { type ConnectionState, inspectConnection } from '../inspect.js';
import { type ClientIdentity, discoverModern, initializeLegacy } from '../protocol/handshake.js';
import { assertModern, type ListenOptions, type ListenSubscription, OpenListens } from '../protocol/listen.js';
import type { CallOptions, Params, RequestHandler, ServerInfo, ServerNotice } from '../protocol/messages.js';
import { LineReader, type LineSink } from './LineReader.js';
import { CLOSE_BRACE, messageIn, OPEN_BRACE } from './messageIn.js';
import { OutputReader } from './OutputReader.js';
import { StdioWriter } from './StdioWriter.js';

export interface StdioConnectionOptions extends ConnectionOptions, ClientIdentity {
  readonly server: string;
  /** Which handshake to make. */
  readonly era: Era;
  readonly signal?: AbortSignal;
  /** How its process is ended, with proof, by its owner; by itself otherwise. */
  readonly end?: { readonly stop: () => Promise<void>; readonly kill: () => Promise<void> };
}

/** How long after the end of its output a child's exit is waited for. */
const EXIT_WAIT_MS = 200;

/**
 * MCP over a child's stdin and stdout, a JSON line a message. The connection lives as long as the process: its calls
 * fail in the turn of the child's `exit`, after everything it had written was read, even when another process still holds its
 * output. Lines that are no JSON are counted and passed over. Its opener closes it, also after its death: `close`
 * is what ends the process group, with proof.
 */
export class StdioConnection implements Connection {
  readonly server: string;
  wanted: (() => boolean) | undefined;
  readonly hurry = (): void => this.#output.resume();
  readonly #process: ManagedProcess;
  readonly #options: StdioConnectionOptions;
  readonly #logger: Logger;
  readonly #channel: Channel;
  readonly #writer: StdioWriter;
  readonly #output: OutputReader;
  readonly #scope: CloseScope;
  readonly #events: ConnectionEvents;
  readonly #exitWatch: Disposable;
  readonly #listens: OpenListens;
  readonly #end: { readonly stop: () => Promise<void>; readonly kill: () => Promise<void> };
  #info: ServerInfo | undefined;
  #firstForeignLine: string | undefined;
  #endTimer: Timer | undefined;
  #closing = false;

  /** Takes `process` over: makes the handshake, or ends it. @throws StartError, after the process group is gone. */
  static async open(process: ManagedProcess, options: StdioConnectionOptions): Promise<StdioConnection> {
    const connection = new StdioConnection(process, options);
    try {
      connection.#info = await connection.#handshake();
      return connection;
    } catch (error) {
      const before = process.exitInfo;
      const ended = await connection.#end.kill().then(
        () => undefined,
        (failed: unknown) => failed,
      );
      await connection.close({ graceMs: 0 }).catch((failed: unknown) => failed);
      if (options.signal?.aborted === true) throw options.signal.reason;
      // With a code it exited by itself, though its exit was told late: our kill leaves none.
      const own = before ?? (process.exitInfo?.exitCode === null ? undefined : process.exitInfo);
      const { exitCode, signal } = own ?? {};
      const why = exitCode === undefined ? messageOf(error) : `it exited ${exit(exitCode, signal)}`;
      const detail = { exitCode, signal, stderr: process.stderrLines(), stdout: connection.#firstForeignLine };
      throw new StartError(
        options.server,
        why,
        detail,
        ended === undefined ? error : new AggregateError([error, ended]),
      );
    }
  }

  private constructor(process: ManagedProcess, options: StdioConnectionOptions) {
    this.server = options.server;
    this.#process = process;
    this.#options = options;
    this.#logger = limitedLogger(options.logger, () => options.clock.now());
    this.#end = options.end ?? process;
    this.#events = new ConnectionEvents(options.server, this.#logger, options.listPace);
    this.#scope = new CloseScope(`connection to ${options.server}`, {
      clock: options.clock,
      logger: this.#logger,
      // No caller waits for these: they end with the connection.
      onRefuse: () => {
        this.#closing = true;
        this.#output.resume();
        this.#listens.abort();
      },
      onDrain: () => this.#channel.idle(),
      onDeadline: () => this.#channel.fail('the connection was closed', new ClosedError(this.#scope.name)),
      onRelease: () => this.#release(),
    });
    this.#channel = new Channel(
      { send: (call, text) => this.#writer.send(call, text), post: (text) => this.#writer.post(text) },
      {
        ...options,
        logger: this.#logger,
        unfinished: () => this.#output.unfinished,
        onNotification: this.#events.notify,
        onRequest: this.#events.answer,
        onBatch: (messages) => this.#output.charge(messages),
      },
    );
    this.#listens = new OpenListens({ ...options, channel: this.#channel, listPace: options.listPace });
    this.#writer = new StdioWriter(process.stdin, {
      clock: options.clock,
      maxUnsentBytes: options.maxMessageBytes * 2,
      onNoticesFull: (why) => this.#die(why),
      server: options.server,
      channel: this.#channel,
    });
    const sink: LineSink = {
      onLine: (line, reply) => this.#line(line, reply),
      onOversized: (edges) => this.#channel.unread.oversized(edges),
      onLong: (parts, scan) => this.#channel.large.begin(parts, scan, this.#output),
    };
    const lines = new LineReader(options.maxMessageBytes, sink, { scan: () => this.#channel.everRaw });
    this.#output = new OutputReader(process.stdout, lines, {
      alone: () => !this.#closing && this.#channel.inFlight === 1 && this.wanted?.() !== true,
      onError: (error) => this.#unreadable(error),
    });
    process.stdin.on('error', (error) => this.#die(`its input broke: ${messageOf(error)}`));
    process.stdout.on('error', (error) => this.#die(`its output broke: ${messageOf(error)}`));
    process.stdout.on('end', () => this.#ended());
    this.#exitWatch = process.onExit(() => this.#exited());
    if (process.exitInfo !== undefined) this.#exited();
  }

  get info(): ServerInfo {
    if (this.#info === undefined) throw new Error('a connection is handed out only after its handshake');
    return this.#info;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get startedAt(): number {
    return this.#process.startedAt;
  }

  get alive(): boolean {
    return this.#events.death === undefined && !this.#closing;
  }

  get counters(): Readonly<ChannelCounters> {
    return this.#channel.counters;
  }

  get limits(): ConnectionLimits {
    return this.#options;
  }

  /** Calls not settled yet; open subscriptions are none. */
  get inFlight(): number {
    return this.#channel.inFlight - this.#listens.size;
  }

  get inDoubt(): Promise<void> | undefined {
    return this.#channel.unread.inDoubt;
  }

  get unsentBytes(): number {
    return this.#writer.unsentBytes;
  }

  request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    if (this.#closing) return Promise.reject(new ClosedError(this.#scope.name));
    if (this.#channel.everRaw) this.#output.resume();
    return this.#channel.request(method, params, options);
  }

  async notify(method: string, params?: Params): Promise<void> {
    this.#scope.assertOpen();
    if (this.#events.death !== undefined) throw new NotSentError(this.server, this.#events.death.why);
    if (this.#writer.post(this.#channel.encodeNotice(method, params))) return;
    throw new QueueFullError(`input of server ${this.server} (${this.unsentBytes} bytes unsent)`, 1, 0);
  }

  /** Opens a subscription (modern era): see `listen`. @throws OptionError in the legacy era. */
  async listen(filter: Params, options: ListenOptions): Promise<ListenSubscription> {
    this.#scope.assertOpen();
    assertModern(this.info.era);
    return this.#listens.open(filter, { ...options, timeoutMs: options.timeoutMs ?? this.#options.timeoutMs });
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

  /** What it holds and has counted, as one plain object. */
  inspect(): ConnectionState {
    return inspectConnection(this);
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #handshake(): Promise<ServerInfo> {
    const options = { ...this.#options, timeoutMs: this.#options.startTimeoutMs };
    return this.#options.era === 'modern'
      ? discoverModern(this.#channel, options)
      : initializeLegacy(this.#channel, options, (method) => {
          this.#writer.post(this.#channel.encodeNotice(method, undefined));
        });
  }

  #line(line: Buffer, reply?: RawReply | null): void {
    const plain = line[0] === OPEN_BRACE && line[line.length - 1] === CLOSE_BRACE;
    const text = plain ? line : messageIn(line);
    if (text !== undefined && this.#channel.read(text, undefined, plain ? reply : undefined)) return;
    // Before the handshake it tells what the program is, if it is no server.
    if (this.#info === undefined) this.#firstForeignLine ??= line.toString('utf8', 0, 1_000).trim() || undefined;
    if (text === undefined) this.#channel.unread.garbage(line);
    this.#logger.debug({ server: this.server, bytes: line.length, line: excerpt(line) }, 'a line that is not JSON');
  }

  /** A fault of ours while a line was read: it ends this connection, never the process. */
  #unreadable(error: unknown): void {
    this.#logger.error({ server: this.server, error }, 'the output of the server could not be read');
    this.#die(`its output could not be read: ${messageOf(error)}`);
  }

  /** It closed its output. If it is on its way out, the exit comes soon and says more. */
  #ended(): void {
    if (this.#events.death === undefined) {
      this.#endTimer = this.#options.clock.setTimer(() => this.#die('it closed its output'), EXIT_WAIT_MS, {
        ref: true,
      });
    }
  }

  #exited(): void {
    this.#channel.unread.isLast = true;
    this.#output.drain();
    const { exitCode, signal } = this.#process.exitInfo ?? { exitCode: null, signal: null };
    this.#die(`it exited ${exit(exitCode, signal)}`, { exitCode, signal });
  }

  #die(why: string, how: Pick<DisconnectReason, 'exitCode' | 'signal'> = {}): void {
    if (!this.#events.die({ expected: this.#scope.closing, why, ...how })) return;
    this.#endTimer?.cancel();
    this.#channel.fail(why, this.#scope.closing ? new ClosedError(this.#scope.name) : undefined);
    this.#writer.close();
    this.#output.close();
    this.#events.tellDeath();
  }

  async #release(): Promise<void> {
    try {
      // Dead but not gone, it has nothing to finish.
      if (this.#events.death !== undefined) await this.#end.kill();
      else await this.#end.stop();
    } finally {
      this.#die('the connection was closed');
      this.#exitWatch[Symbol.dispose]();
      this.#events.clear();
      this.#process.stdout.destroy();
      this.#process.stdin.destroy();
      await this.#channel.idle();
    }
  }
}

function exit(code: number | null | undefined, signal: string | null | undefined): string {
  return signal === null || signal === undefined ? `with code ${code}` : `on ${signal}`;
}

/** The beginning of a line, for the log. */
function excerpt(line: Buffer): string {
  return line.toString('utf8', 0, 200).replace(/\p{C}+/gu, ' ');
}
