import type { IncomingHttpHeaders } from 'node:http';
import { RequestTracer } from '../../observe/requests/requestTrace.js';
import type { McpPool } from '../../pool/McpPool.js';
import { idKey, type RequestMessage } from '../rpc/envelope.js';
import type { Session } from '../session/Session.js';

/** Follows a request of a session; undefined while no one listens. */
export function traceOf(
  pool: McpPool,
  session: Session,
  message: RequestMessage,
  headers: IncomingHttpHeaders,
): RequestTracer | undefined {
  return RequestTracer.begin(() => {
    const { method, params } = message;
    const { protocolVersion } = session;
    const cancel = (reason: unknown): void => void session.cancel(idKey(message), reason);
    return { pool, method, params, era: 'legacy', protocolVersion, transport: 'http', headers, cancel };
  });
}
