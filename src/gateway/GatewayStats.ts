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
  /** Bytes held now for all clients: bodies on their way, large answers and notifications not taken. */
  readonly heldBytes: number;
}
