import { ProtocolError } from './outcomes.js';

/** Statuses that speak of the request: too large, too long, malformed. A caller brings them about at will, a server that is well sends them. */
const STATUSES: ReadonlySet<number | undefined> = new Set([400, 413, 414, 415, 422, 431]);

/** Errors of which it was found out that the server is well: it answered something else at once. */
const confirmed = new WeakSet<object>();

/** The server, asked for something else, answered: this failure speaks of its request. */
export function confirmOfRequest(error: object): void {
  confirmed.add(error);
}

/** Whether a failure speaks of its request, and says nothing of the server: its caller alone brought it about. */
export const isOfRequest = (error: unknown): boolean =>
  error instanceof Error && (confirmed.has(error) || (error instanceof ProtocolError && STATUSES.has(error.status)));

/** Whether an error says that its server does not keep to the protocol, and not that the caller's request was refused. */
export const isBrokenProtocol = (error: unknown): boolean => error instanceof ProtocolError && !isOfRequest(error);
