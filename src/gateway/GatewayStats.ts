import type { CutReason } from './http/stream/CutResponses.js';

/** Counters count from the start. */
export interface GatewayStats {
  readonly sessions: number;
  /** Streams that clients keep open to listen. */
  readonly streams: number;
  /** HTTP requests being answered, open streams not among them. */
  readonly inFlight: number;
  /** Connections of clients that are open. */
  readonly connections: number;
  readonly requests: number;
  /** Requests refused for their Host or Origin. */
  readonly refused: number;
  /** Notifications that no client read, or that a client was too slow for. */
  readonly droppedNotices: number;
  /** Responses that were broken off before their end, by why; those of clients that left are not among them. */
  readonly cutResponses: Readonly<Record<CutReason, number>>;
  /** Bytes held now for all clients: bodies on their way, large answers and notifications not taken. */
  readonly heldBytes: number;
}
