import type { Connection, DisconnectReason, NotifyOptions } from '../../../connection/Connection.js';
import { ConnectionEvents } from '../../../connection/ConnectionEvents.js';
import type { Call } from '../../../connection/channel/Call.js';
import { Channel, type ChannelCounters } from '../../../connection/channel/Channel.js';
import type {
  CallOptions,
  Params,
  RequestHandler,
  ServerInfo,
  ServerNotice,
  ServerRequest,
} from '../../../connection/protocol/messages.js';
import { LineReader } from '../../../connection/stdio/LineReader.js';
import { messageIn } from '../../../connection/stdio/messageIn.js';
import type { Clock } from '../../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../../core/close/CloseScope.js';
import { ClosedError } from '../../../core/errors.js';
import { silentLogger } from '../../../core/logger.js';
import type { FaultEvent } from '../../faults/events.js';
import type { FaultPlan } from '../../faults/FaultPlan.js';
import { MessageWire } from '../MessageWire.js';
import { parseMessage, type RpcMessage } from '../messages.js';
import type { ClientPort, WireEnd } from '../WireCall.js';
import { FarEnd } from './FarEnd.js';
import { MemoryFaults } from './MemoryFaults.js';

interface FaultyConnectionOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly caller: string | undefined;
  readonly onFault: ((event: FaultEvent) => void) | undefined;
}

const MAX_MESSAGE_BYTES = 16 * 2 ** 20;

/**
 * A wire in memory in front of a connection: a real channel on this side, the connection on the other, and a
 * `MessageWire` between them. So timeouts, signals, counters and ends are those of any transport.
 */
export class FaultyConnection implements Connection {
  readonly #inner: Connection;
  readonly #channel: Channel;
  readonly #wire: MessageWire;
  readonly #lines: LineReader;
  readonly #port: ClientPort;
  readonly #events: ConnectionEvents;
  readonly #scope: CloseScope;
  readonly #faults: MemoryFaults;
  readonly #far: FarEnd;
  readonly #watches: readonly Disposable[];

  constructor(inner: Connection, plan: FaultPlan, { clock, timeoutMs, caller, onFault }: FaultyConnectionOptions) {
    this.#inner = inner;
    const { server, limits } = inner;
    const { maxMessageBytes = MAX_MESSAGE_BYTES, acquireTimeoutMs = 60_000 } = limits ?? {};
    const maxTotalTimeoutMs = limits?.maxTotalTimeoutMs ?? Number.POSITIVE_INFINITY;
    this.#events = new ConnectionEvents(server, silentLogger);
    this.#channel = new Channel(
      {
        send: (call) => this.#send(call),
        post: (text) => this.#wire.fromClient(parseMessage(text) ?? {}, this.#port),
        cancel: (call, reason) => {
          if (call.method === 'initialize') return;
          const params = { requestId: call.id, reason };
          this.#wire.fromClient({ method: 'notifications/cancelled', params }, this.#port);
        },
      },
      {
        server,
        clock,
        logger: silentLogger,
        maxMessageBytes,
        timeoutMs,
        acquireTimeoutMs,
        maxTotalTimeoutMs,
        onNotification: this.#events.notify,
        onRequest: this.#events.answer,
      },
    );
    this.#lines = new LineReader(maxMessageBytes, {
      onLine: (line) => this.#line(line),
      onOversized: (edges) => this.#channel.unread.oversized(edges),
    });
    this.#port = {
      frame: (text) => Buffer.from(`${text}\n`),
      write: (bytes) => void this.#lines.push(bytes),
      die: (end) => this.#crash(end),
    };
    this.#faults = new MemoryFaults({
      server,
      clock,
      era: inner.info.era,
      fail: (id, error) => {
        this.#far.lose(id);
        this.#fail(id, error);
      },
    });
    this.#wire = new MessageWire({
      server,
      plan,
      clock,
      caller: () => caller,
      toServer: (message) => this.#toServer(message),
      special: (call, proceed) => this.#faults.took(call, proceed, (die) => this.#wire.dieOnceTaken(call, die)),
      ...(onFault !== undefined && { onFault }),
    });
    this.#scope = new CloseScope(`connection to ${server}`, {
      clock,
      onDrain: () => this.#channel.idle(),
      onDeadline: () => this.#channel.fail('the connection was closed', new ClosedError(this.#scope.name)),
      onRelease: () => this.#release(),
    });
    this.#far = new FarEnd(inner, {
      callOf: (id) => this.#channel.pending(id as number),
      answered: (message, text) => this.#answered(message, text),
      failed: (id, error) => this.#fail(id, error),
      tells: (message, call) => this.#receive(message, call),
    });
    this.#watches = [
      inner.onNotification((notice) => this.#receive(notice)),
      inner.onClose((death) => this.#die(death)),
    ];
  }

  get server(): string {
    return this.#inner.server;
  }
  get info(): ServerInfo {
    return this.#inner.info;
  }
  get pid(): number | undefined {
    return this.#inner.pid;
  }
  get alive(): boolean {
    return this.#events.death === undefined && !this.#scope.closing && this.#inner.alive;
  }
  get startedAt(): number {
    return this.#inner.startedAt;
  }
  get limits(): Connection['limits'] {
    return this.#inner.limits;
  }
  get counters(): Readonly<ChannelCounters> {
    const [own, inner] = [this.#channel.counters, this.#inner.counters];
    return { ...own, lateReplies: own.lateReplies + inner.lateReplies, garbage: own.garbage + inner.garbage };
  }
  get inFlight(): number {
    return this.#channel.inFlight;
  }
  get unsentBytes(): number {
    return this.#inner.unsentBytes;
  }
  get listen(): Connection['listen'] {
    return this.#inner.listen?.bind(this.#inner);
  }

  request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown> {
    if (this.#scope.closing) return Promise.reject(new ClosedError(this.#scope.name));
    return this.#channel.request(method, params, options);
  }

  async notify(method: string, params?: Params, options?: NotifyOptions): Promise<void> {
    if (this.#faults.reads) await this.#inner.notify(method, params, options);
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

  /** Lines that come as if the server had written them. */
  hear(lines: readonly string[]): void {
    for (const line of lines) this.#port.write(this.#port.frame(line));
  }

  #send(call: Call): void {
    const { refusal } = this.#faults;
    if (refusal !== undefined) throw refusal;
    this.#channel.markSent(call, this.#scope.clock.now());
    const { id, method, params } = call;
    this.#wire.fromClient({ id, method, ...(params && { params }) }, this.#port);
  }

  #line(line: Buffer): void {
    const text = messageIn(line);
    if (text !== undefined && this.#channel.wantsRaw && this.#channel.receiveBytes(text)) return;
    const message = text === undefined ? undefined : parseMessage(text.toString('utf8'));
    if (message === undefined) this.#channel.unread.garbage(line);
    else this.#channel.receive(message, undefined, text);
  }

  /** What arrives at the server. */
  #toServer(message: RpcMessage): void {
    if (this.#faults.reads) this.#far.receive(message);
  }

  #answered(message: RpcMessage, text: string): void {
    this.#wire.fromServer({ jsonrpc: '2.0', ...message }, text, this.#port);
  }

  #fail(id: unknown, error: unknown): void {
    this.#wire.abandoned(id as number);
    const call = this.#channel.pending(id as number);
    if (call !== undefined) this.#channel.failCall(call, error);
  }

  #receive(message: ServerNotice | ServerRequest, call?: Call): void {
    if (!this.#wire.stalled) this.#channel.receive({ jsonrpc: '2.0', ...message }, call);
  }

  /** As on a wire: the process is gone at once. What is left of it the inner connection proves dead. */
  #crash({ why, exitCode, signal }: WireEnd): void {
    const { pid } = this.#inner;
    if (pid !== undefined) {
      // What stands there without a line's end is read to the end when a process is gone, and may be half of a message.
      this.#channel.unread.isLast = true;
      this.#lines.end();
      if (this.#inner.alive) killed(pid);
    }
    this.#die({ expected: false, why, exitCode: exitCode ?? null, signal: signal ?? null });
  }

  #die(death: DisconnectReason): void {
    const expected = death.expected || this.#scope.closing;
    if (!this.#events.die({ ...death, expected })) return;
    this.#channel.fail(death.why, expected ? new ClosedError(this.#scope.name) : undefined);
    this.#wire.close();
    // A later close of this connection gets the same promise, with what would not end.
    this.#inner.close({ graceMs: 0 }).catch(() => undefined);
    this.#events.tellDeath();
  }

  async #release(): Promise<void> {
    this.#wire.close();
    this.#faults.close();
    try {
      await this.#inner.close({ graceMs: 0 });
    } finally {
      this.#die({ expected: true, why: 'the connection was closed' });
      for (const watch of this.#watches) watch[Symbol.dispose]();
      this.#events.clear();
    }
  }
}

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It is gone already.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
