import { confirmAlive, MessageTooLargeError, OutcomeUnknownError, ProtocolError } from '../../../core/errors.js';
import { MAX_BATCH } from '../../protocol/messages.js';
import type { Call, CallTable } from '../Call.js';
import type { ChannelCounters, ChannelOptions } from '../ChannelOptions.js';
import { isNamedAsAnswer, type RawReply } from '../codec/envelope.js';
import { bytesOf, MAX_READ_BYTES } from '../codec/parsingCost.js';
import { HalfAnswers } from './HalfAnswers.js';
import { idAtEdge, idAtEnd, quotedIn } from './idAtEdge.js';
import { beginsAsAnswer, idsInGarbage, idsInside, mayAnswer } from './idsInGarbage.js';
import { EDGE_BYTES, type Edges } from './MessageEdges.js';
import { valueInFront } from './valueInFront.js';

const NONE = Buffer.alloc(0);
const NOT_JSON = 'is not JSON';
const HANDSHAKES: ReadonlySet<string> = new Set(['initialize', 'server/discover']);
/** Of an error's words, so many characters are logged. */
const MAX_SAID = 200;

/** Messages that came and are not read. The call whose answer one seems to be fails at once: no other answer of it will come. */
export class Unread {
  readonly #calls: CallTable;
  readonly #counters: ChannelCounters;
  readonly #options: Pick<ChannelOptions, 'server' | 'logger' | 'maxMessageBytes' | 'unfinished'>;
  readonly #fail: (call: Call, error: Error) => void;
  /** Another message, or none, seems to be all that comes of a call's answer: it fails with `error` unless that comes right after. */
  readonly doubts: (call: Call, error: Error) => void;
  readonly #read: (message: Buffer) => void;
  readonly halves: HalfAnswers;
  /** Nothing more comes: a message that cannot be read may be half of one, and its call is told how the connection ended. */
  isLast = false;

  constructor(
    calls: CallTable,
    counters: ChannelCounters,
    options: Pick<ChannelOptions, 'server' | 'logger' | 'maxMessageBytes' | 'unfinished'>,
    fail: (call: Call, error: Error) => void,
    doubt: (call: Call, error: Error) => void,
    read: (message: Buffer) => void,
  ) {
    this.#read = read;
    this.#calls = calls;
    this.#counters = counters;
    this.#options = options;
    this.#fail = (call, error) => {
      // The server answers: what becomes of this answer its caller may have brought about.
      confirmAlive(error);
      fail(call, error);
    };
    this.doubts = (call, error) => {
      confirmAlive(error);
      doubt(call, error);
    };
    this.halves = new HalfAnswers(calls);
  }

  /** The call whose answer bytes seem to be, by how they begin and end. */
  answers(bytes: Buffer): Call | undefined {
    const id = idAtEdge(bytes.subarray(0, EDGE_BYTES), bytes.subarray(-EDGE_BYTES));
    return id === undefined ? undefined : this.#calls.sent(id);
  }

  /** Bytes of a call's answer that is not at its end. On a stream of all calls it is told by its beginning, or by no other being owed one. */
  arrived(call: Call): number {
    const line = this.#options.unfinished?.();
    if (line === undefined) return call.carrier?.arrivedBytes ?? 0;
    const id = idAtEdge(line.head, NONE);
    const own = id === undefined ? beginsAsAnswer(line.head) && this.#calls.onlyOwed() === call : id === call.id;
    return own ? line.bytes : 0;
  }

  /**
   * It is no JSON, or cannot be read for another reason `why`, of which the log is told. `own`: the call on whose stream it came, which is
   * then told by its transport; else a line may be half of an answer with others behind it, and every call fails that it names.
   */
  garbage(bytes: Buffer, why?: string, own?: Call): void {
    this.#counters.garbage++;
    const { server, logger } = this.#options;
    const front = why === undefined && own === undefined ? valueInFront(bytes) : undefined;
    const call = this.answers(front ?? bytes);
    if (front !== undefined && call !== undefined) this.#beside(call, front, 'has other text behind it in its line');
    else if (call !== undefined) this.#lost(call, `its answer to ${call.method} ${why ?? NOT_JSON}`);
    if (why !== undefined) {
      logger.warn({ server, bytes: bytes.length }, `a message of the server was dropped: it ${why}`);
    } else if (own === undefined) {
      const others = new Set(idsInGarbage(bytes));
      if (front !== undefined && call !== undefined) others.delete(call.id);
      this.#lostAll(others);
      if (call !== undefined || others.size > 0) return;
      const quoted = quotedIn(bytes);
      const its = this.#calls.sent(quoted?.id);
      if (quoted !== undefined && its !== undefined)
        this.#beside(its, quoted.text, 'stands behind other text in its line');
      else if (beginsAsAnswer(bytes)) {
        const alone = this.#calls.onlyOwed();
        this.halves.came(bytes, (its) => {
          const why = `its answer to ${its.method} ${NOT_JSON}`;
          // A line of a log may begin so: which of several it is of is known by the answers of the others.
          if (its === alone && !this.isLast) this.doubts(its, new ProtocolError(server, why));
          else this.#lost(its, why);
        });
      }
    }
  }

  /** Words beside an answer in its line, which may be a log that quotes it. Before anyone has called none quotes anyone. */
  #beside(call: Call, answer: Buffer, how: string): void {
    if (HANDSHAKES.has(call.method)) this.#read(answer);
    else this.doubts(call, new ProtocolError(this.#options.server, `its answer to ${call.method} ${how}`));
  }

  /** More of a message that began as an answer and turned out to be no JSON: fails the calls that it names. */
  moreGarbage(bytes: Buffer): void {
    this.#lostAll(idsInside(bytes));
  }

  #lostAll(ids: ReadonlySet<number>): void {
    for (const id of ids) {
      const call = this.#calls.sent(id);
      if (call !== undefined) this.#lost(call, `its answer to ${call.method} stands in a line that ${NOT_JSON}`);
    }
  }

  #lost(call: Call, why: string): void {
    if (!this.isLast) this.#fail(call, new ProtocolError(this.#options.server, why));
  }

  /**
   * Whether a message is larger than `MAX_READ_BYTES`, and no answer that a call waits for, or one without a result (`reply` is null) for a call whose
   * results stay bytes: an error is read. It is passed over then, as one that is too large for any.
   */
  refuses(data: Buffer | string, reply: RawReply | null | undefined): boolean {
    const { length: bytes } = data;
    if (bytes <= MAX_READ_BYTES) return false;
    const head = bytesOf(data.slice(0, EDGE_BYTES));
    const tail = bytesOf(data.slice(-EDGE_BYTES));
    const call = this.#calls.sent(idAtEdge(head, tail));
    if (call !== undefined && !(call.options.raw === true && reply === null)) return false;
    const { server, logger } = this.#options;
    const why = `it has ${bytes} bytes, and is not known for a result: ${MAX_READ_BYTES} may be`;
    logger.warn({ server, bytes }, `a message of the server was dropped: ${why}`);
    this.oversized({ head, tail, bytes }, new MessageTooLargeError(server, 'incoming', bytes, MAX_READ_BYTES));
    return true;
  }

  /** Whether an array holds more messages than are taken. Then it is garbage, and the calls that it answers fail. */
  refusesBatch(messages: readonly unknown[]): boolean {
    if (messages.length <= MAX_BATCH) return false;
    this.#counters.garbage++;
    const { server, logger } = this.#options;
    const why = `an array of ${messages.length} messages, ${MAX_BATCH} allowed`;
    for (const each of messages) {
      if (typeof each !== 'object' || each === null || 'method' in each || !('id' in each)) continue;
      const call = this.#calls.sent(each.id);
      if (call !== undefined)
        this.#fail(call, new ProtocolError(server, `its answer to ${call.method} came in ${why}`));
    }
    logger.warn({ server, messages: messages.length }, `a message of the server was dropped: it is ${why}`);
    return true;
  }

  /** Resolves when no answer may come to a call that was given up; undefined when none may now. */
  get inDoubt(): Promise<void> | undefined {
    return this.#calls.inDoubt;
  }

  /** Whether an id is that of a call which has settled; then its reply counts as late. */
  late(id: unknown): boolean {
    if (!this.#calls.isPast(id)) return false;
    this.#counters.lateReplies++;
    this.#calls.answeredLate(id);
    return true;
  }

  /** Whether what looks like an answer is a line of a log, which a process may write where its answers stand. */
  isLogged(message: object): boolean {
    return this.#options.unfinished !== undefined && !isNamedAsAnswer(message);
  }

  /**
   * An error that names none of ours (JSON-RPC: `id` is null where it could not be read), on a stream that brings the answers of several. It may be about
   * the only call there is, or the one that is left, or about what went before: that call ends with the server's words unless its answer comes right after.
   */
  blames(message: object): void {
    const { jsonrpc, id, error } = message as Record<string, unknown>;
    if (this.#calls.size === 0 || jsonrpc !== '2.0' || this.#calls.isPast(id) || !isError(error)) return;
    const { server, logger } = this.#options;
    const said = `${error.code} ${error.message.slice(0, MAX_SAID)}`;
    if (this.#calls.size > 1) logger.warn({ server, said }, 'an error of the server names no call');
    if (this.#calls.notified) return;
    this.halves.owed((call) => {
      // One that its own response may still answer.
      if (call.carrier !== undefined && call.carrier.taken === undefined) return;
      const why = `an error that names no call (${said}) came in the place of its answer`;
      this.doubts(call, new OutcomeUnknownError(server, call.method, why));
    });
  }

  /**
   * One that is too large: its own call fails, with `error` where that is given, or it is late. Where its edges name none it is garbage; one that
   * may be an answer is that of the call which is left when all others that it may be of are answered.
   */
  oversized({ head, tail, bytes }: Edges, error?: Error): void {
    const id = idAtEdge(head, tail);
    // Another at its end is that of an answer which stands behind half of this one.
    const last = idAtEnd(tail);
    if (id !== undefined && last !== undefined && last !== id) this.#lostAll(new Set([last]));
    const { server, maxMessageBytes } = this.#options;
    const fail = (call: Call): void =>
      this.#fail(call, error ?? new MessageTooLargeError(server, 'incoming', bytes, maxMessageBytes));
    const call = this.#calls.sent(id);
    if (call !== undefined) fail(call);
    else if (id === undefined || !this.late(id)) {
      this.#counters.garbage++;
      if (id === undefined && mayAnswer(head)) this.halves.came(head, fail);
    }
  }
}

function isError(error: unknown): error is { readonly code: number; readonly message: string } {
  const { code, message } = (error ?? {}) as Record<string, unknown>;
  return typeof code === 'number' && typeof message === 'string';
}
