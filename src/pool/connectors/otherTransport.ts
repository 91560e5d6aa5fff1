import {
  ForbiddenError,
  messageOf,
  OutcomeUnknownError,
  ProtocolError,
  RpcError,
  StartError,
} from '../../core/errors.js';

/** What a URL may be reached over. */
export type UrlTransport = 'http' | 'sse';

export const TRANSPORT_NAMES: Readonly<Record<UrlTransport, string>> = { http: 'Streamable HTTP', sse: 'SSE' };

/**
 * Whether a failed start shows that something is there which speaks, but not this transport: a 4xx, what is no MCP, or no POST at all (501).
 * A 403 that says what is missing is the refusal of one who may not.
 */
export function saysOtherTransport(error: unknown): boolean {
  const cause = error instanceof StartError ? error.cause : undefined;
  if (cause instanceof OutcomeUnknownError) return cause.status === 501;
  return cause instanceof ProtocolError || cause instanceof RpcError || isBareForbidden(cause);
}

/** What stands when every transport that was tried has failed: a failure that says more than that it is not the server's, or all of them. */
export function failureOfAll(server: string, failures: ReadonlyMap<UrlTransport, unknown>): unknown {
  const errors = [...failures.values()];
  const forbidden = (error: unknown): boolean => error instanceof StartError && isBareForbidden(error.cause);
  const told = errors.find((error) => !saysOtherTransport(error)) ?? errors.find(forbidden);
  if (told !== undefined) return told;
  const why = [...failures].map(([transport, error]) => `over ${TRANSPORT_NAMES[transport]}: ${messageOf(error)}`);
  return new StartError(server, why.join('; '), {}, new AggregateError(errors));
}

const isBareForbidden = (cause: unknown): boolean => cause instanceof ForbiddenError && cause.challenge === undefined;
