import { OutcomeUnknownError, ProtocolError, UpstreamBusyError } from './outcomes.js';

/** Statuses that speak of the request: too large, too long, malformed. A caller brings them about at will, a server that is well sends them. */
const STATUSES: ReadonlySet<number | undefined> = new Set([400, 413, 414, 415, 422, 431]);

/** Failures of one call, beside which the server answered something else. */
const besideAnswers = new WeakSet<object>();

/** The server, asked for something else, answered: one caller alone may have brought this failure about. */
export function confirmAlive(error: object): void {
  besideAnswers.add(error);
}

/** Whether a failure is a vote of its caller: the server failed this call, and was there for another. */
export const isVote = (error: unknown): boolean => besideAnswers.has(error as object);

/** Whether a failure speaks of its request, and says nothing of the server. */
export const isOfRequest = (error: unknown): boolean => error instanceof ProtocolError && STATUSES.has(error.status);

/** Whether a call that was sent failed by its server, or by what leads there, and not by a refusal of the caller's request. */
export const isServerFault = (error: unknown): boolean =>
  error instanceof OutcomeUnknownError ||
  error instanceof UpstreamBusyError ||
  (error instanceof ProtocolError && !isOfRequest(error));
