import type { Readable, Writable } from 'node:stream';
import { LineReader } from '../../../connection/stdio/LineReader.js';
import { systemClock, type Timer } from '../../../core/clock.js';
import type { FaultEvent } from '../../faults/events.js';
import type { FaultPlan, Injection } from '../../faults/FaultPlan.js';
import { Delays } from '../Delays.js';
import { garbage } from '../lies.js';
import { MessageWire } from '../MessageWire.js';
import { isCostly, parseMessage, type RpcMessage } from '../messages.js';
import type { ClientPort, WireCall, WireEnd } from '../WireCall.js';

/** What faults may do to the process that a stdio wire leads to. */
export interface ProcessHand {
  /** It ends, by a code or a signal, with all it has written on its way. */
  end(end: WireEnd): void;
  stderr(text: string): void;
  /** It closes its output and lives on. */
  closeOutput(): void;
}

export interface LineWireOptions {
  readonly server: string;
  readonly plan: FaultPlan;
  readonly input: Readable;
  readonly output: Writable;
  readonly hand: ProcessHand;
  readonly caller?: () => string | undefined;
  readonly toServer: (message: RpcMessage, call: WireCall | undefined) => void;
  readonly onFault?: (event: FaultEvent) => void;
  readonly onMessage?: (from: 'client' | 'server', text: string) => void;
  /** Takes the client's lines that are no messages, or have too many values to be parsed. @defaultValue they are left out, and none is too much */
  readonly onRaw?: (line: Buffer) => void;
  /** Told of a line of the client's that is longer than any message. @defaultValue the process ends */
  readonly onOversized?: (bytes: number) => void;
  /** The client has closed its side. */
  readonly onEnd: () => void;
}

/** Larger than any message a test sends, and still a bound. */
const MAX_LINE_BYTES = 256 * 2 ** 20;
const FLOOD_BYTES = 2 ** 20;
const LEAK_BYTES = 10 * 2 ** 20;
const STALL_MS = 200;
/** How long a process that reads no more lives, should nothing end it. */
const HOLD_MS = 120_000;
const SLOW_START_MS = 500;

/** The server's end of a stdio wire: lines come in, lines go out, and both go wrong as a plan says. */
export class LineWire {
  readonly #options: LineWireOptions;
  readonly #wire: MessageWire;
  readonly #port: ClientPort;
  readonly #lines: LineReader;
  /** What `leakMemory` holds. */
  readonly #leaked: Buffer[] = [];
  readonly #onData = (chunk: Buffer): void => void this.#lines.push(chunk);
  readonly #onEnd: () => void;
  readonly #texts = new WeakMap<RpcMessage, string>();
  #begun = false;
  readonly #start = new Delays(systemClock);
  #hold: Timer | undefined;
  #waiting: (() => void)[] | undefined;
  /** It reads nothing any more, by a fault. */
  #stopped = false;

  constructor(options: LineWireOptions) {
    this.#options = options;
    const { server, plan, output, hand, caller, toServer, onFault, onMessage, onOversized, onEnd } = options;
    this.#onEnd = onEnd;
    this.#port = {
      frame: (text) => Buffer.from(`${text}\n`),
      write: (bytes) => void output.write(bytes),
      die: (end) => {
        // It may take until all is read: what would come meanwhile comes no more.
        this.close();
        hand.end(end);
      },
    };
    this.#wire = new MessageWire({
      server,
      plan,
      clock: systemClock,
      wire: 'stdio',
      toServer,
      special: (call, proceed) => this.#special(call, proceed),
      ...(caller !== undefined && { caller }),
      ...(onFault !== undefined && { onFault }),
      ...(onMessage !== undefined && { onMessage: (from, message) => onMessage(from, this.textOf(message)) }),
    });
    this.#lines = new LineReader(MAX_LINE_BYTES, {
      onLine: (line) => this.#line(line),
      onOversized: ({ bytes }) => {
        if (onOversized === undefined) hand.end({ exitCode: 1, why: 'a message is too large' });
        else onOversized(bytes);
      },
    });
  }

  /** Begins to read, after what the plan does to the start. */
  begin(start: Injection | undefined): void {
    if (this.#begun) return;
    this.#begun = true;
    const { input } = this.#options;
    if (start?.fault === 'noise')
      for (const line of garbage(start.settings.count ?? 3)) this.#port.write(this.#port.frame(line));
    if (start?.fault === 'slowStart') {
      this.#waiting = [];
      this.#start.later(start.delayMs ?? SLOW_START_MS, () => this.#awake());
    }
    input.on('data', this.#onData);
    input.on('end', this.#onEnd);
  }

  /** A message of the server's. */
  fromServer(message: RpcMessage, text: string): void {
    this.#texts.set(message, text);
    this.#wire.fromServer(message, text, this.#port);
  }

  /** A message as it came, byte for byte. */
  textOf(message: RpcMessage): string {
    return this.#texts.get(message) ?? JSON.stringify(message);
  }

  /** What the server wrote that is no message, or has too many values to be parsed. */
  raw(bytes: Buffer): void {
    if (!this.#wire.stalled) this.#port.write(bytes);
  }

  /** Reads nothing of the client until `resume`: the server takes nothing. */
  pause(): void {
    this.#options.input.pause();
  }

  resume(): void {
    if (!this.#stopped) this.#options.input.resume();
  }

  /** Requests that no fault befell, and the server has not answered. */
  get unanswered(): number {
    return this.#wire.unanswered;
  }

  /** Resolves once no fault holds back a message, either way. */
  async settled(): Promise<void> {
    await this.#start.settled();
    await this.#wire.settled();
  }

  close(): void {
    const { input } = this.#options;
    this.#start.close();
    this.#hold?.cancel();
    this.#wire.close();
    input.off('data', this.#onData);
    input.off('end', this.#onEnd);
  }

  #awake(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const take of waiting) take();
  }

  #line(line: Buffer): void {
    const take = this.#taking(line);
    if (this.#waiting !== undefined) this.#waiting.push(take);
    else take();
  }

  #taking(line: Buffer): () => void {
    const { onRaw } = this.#options;
    const text = line.toString('utf8');
    const message = onRaw !== undefined && isCostly(line) ? undefined : parseMessage(text);
    // What is no message is the server's to judge; a fake one has nothing to say to it.
    if (message === undefined) return () => onRaw?.(line);
    this.#texts.set(message, text);
    return () => this.#wire.fromClient(message, this.#port);
  }

  #special({ injection }: WireCall, proceed: () => void): boolean {
    const { hand, input } = this.#options;
    switch (injection?.fault) {
      case 'stderrFlood': {
        const line = `${'e'.repeat(99)}\n`;
        hand.stderr(line.repeat(Math.ceil((injection.settings.bytes ?? FLOOD_BYTES) / line.length)));
        proceed();
        return true;
      }
      case 'stopReading':
        proceed();
        this.#stopped = true;
        input.pause();
        input.off('data', this.#onData);
        // Nothing else may hold the process: it must not end by itself, and not live for ever either.
        this.#hold = systemClock.setTimer(() => hand.end({ why: 'it has not read for too long' }), HOLD_MS, {
          ref: true,
        });
        return true;
      case 'closeOutput':
        proceed();
        hand.closeOutput();
        return true;
      case 'leakMemory':
        this.#leaked.push(Buffer.alloc(injection.settings.bytes ?? LEAK_BYTES, 1));
        proceed();
        return true;
      case 'stallEventLoop':
        compute(injection.delayMs ?? STALL_MS);
        proceed();
        return true;
      default:
        return false;
    }
  }
}

/** Keeps the process busy: that is what a stalled event loop is. */
export function compute(ms: number): void {
  const untilMs = systemClock.now() + ms;
  while (systemClock.now() < untilMs);
}
