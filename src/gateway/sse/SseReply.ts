import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Progress } from '../../pool/McpPool.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import { bytesOf } from '../http/respond.js';
import { preparedForEvent } from '../http/stream/Frame.js';
import { type Failure, failureText } from '../rpc/failure.js';
import { progressText, type Told, toldText } from '../rpc/notices.js';
import type { Reply } from '../session/Reply.js';
import type { SseStream } from './SseStream.js';

const CLOSING_BRACE = Buffer.from('}');

/** Answers of one posted body, down the client's one stream. */
export class SseReply implements Reply {
  readonly #stream: SseStream;
  readonly #owner: string;
  readonly #held: HeldBytes;
  readonly #onDrop: () => void;

  constructor(stream: SseStream, owner: string, held: HeldBytes, onDrop: () => void) {
    this.#stream = stream;
    this.#owner = owner;
    this.#held = held;
    this.#onDrop = onDrop;
  }

  get attended(): boolean {
    return this.#stream.open;
  }

  offer(message: Told): boolean {
    return this.#stream.offer(toldText(message));
  }

  progress(tokenText: string, progress: Progress): void {
    if (!this.#stream.offer(progressText(tokenText, progress))) this.#onDrop();
  }

  notify(method: string, params: unknown): void {
    if (!this.offer({ method, params })) this.#onDrop();
  }

  prepared(result: unknown): Promise<unknown> | undefined {
    return preparedForEvent(result);
  }

  result(idText: string, result: unknown): void {
    const json =
      result instanceof Uint8Array
        ? Buffer.from(result.buffer, result.byteOffset, result.byteLength)
        : Buffer.from(JSON.stringify(result) ?? '{}');
    this.parts(idText, [json]);
  }

  /** A result, as JSON in parts. */
  parts(idText: string, result: readonly Buffer[]): void {
    const bytes = bytesOf(result);
    if (this.#held.hasRoomFor(this.#owner, bytes)) {
      this.#stream.send([Buffer.from(`{"jsonrpc":"2.0","id":${idText},"result":`), ...result, CLOSING_BRACE]);
      return;
    }
    const message = `the answer of ${bytes} bytes is lost: too much waits for clients that do not read`;
    const data = { code: 'ERR_OUTCOME_UNKNOWN', retryable: false };
    this.failure(idText, { code: RPC_CODES.internalError, message, data });
  }

  failure(idText: string, error: Failure): void {
    this.#stream.send(`{"jsonrpc":"2.0","id":${idText},"error":${failureText(error)}}`);
  }

  giveUp(): void {
    // What its client cancelled is not answered.
  }

  tick(): void {
    // There is a stream already.
  }

  heartbeat(): void {
    // The session's own reaches it.
  }
}
