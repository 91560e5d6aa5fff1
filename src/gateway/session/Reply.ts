import type { ResultSink } from '../../connection/channel/large/ResultSink.js';
import type { Progress } from '../../pool/McpPool.js';
import type { Failure } from '../rpc/failure.js';
import type { Told } from '../rpc/notices.js';

/** Where one message of a client is answered, and what belongs to its calls goes ahead of the answer. */
export interface Reply {
  /** Whether its client is there, or may come back for a stream that can be resumed. */
  readonly attended: boolean;
  /** A request or a notification that goes ahead of the answer; false when it cannot. */
  offer(message: Told): boolean;
  /** Progress of the call, under its client's own token, which is JSON text. */
  progress(tokenText: string, progress: Progress): void;
  /** A notification that belongs to the call. */
  notify(method: string, params: unknown): void;
  /** Takes a large result in pieces, where it can; then `result` gets the `TakenResult`. `onRoom`: it can take more. */
  large?(idText: string, onRoom: () => void): ResultSink | undefined;
  /** Makes a large result fit for `result`, in turns of the event loop; undefined when it is. Never rejects. */
  prepared?(result: unknown): Promise<unknown> | undefined;
  /** A result: a value, or its JSON as bytes, which are not looked into. The id is JSON text. */
  result(idText: string, result: unknown): void;
  /** `status` and `headers`: where the response is this failure alone. */
  failure(idText: string, error: Failure, status?: number, headers?: Readonly<Record<string, string>>): void;
  /** A request that its client cancelled is not answered. */
  giveUp(): void;
  /** Comes every few seconds: a call that takes long becomes a stream. */
  tick(): void;
  /** Keeps what stands between from cutting the stream of a long call. */
  heartbeat(): void;
}
