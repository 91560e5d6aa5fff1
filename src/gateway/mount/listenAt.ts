import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ClosedError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';

export interface GatewayAddress {
  readonly host: string;
  readonly port: number;
  /** `http://host:port`. */
  readonly url: string;
}

/** So many connections wait to be taken, or as many as the system lets: what Node's 511 has no room for tries again after 1, 3 and 7 s. */
const BACKLOG = 4_096;

/** Has a server listen. Its later failures are logged: unheard they would end the process. */
export async function listenAt(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
  logger: Logger,
): Promise<GatewayAddress> {
  await once(server.listen({ host, port, backlog: BACKLOG }), 'listening');
  // Out of file descriptors, for example.
  server.on('error', (error) => logger.error({ error }, 'the server failed'));
  const bound = server.address() as AddressInfo | null;
  // Closed meanwhile.
  if (bound === null) throw new ClosedError('Gateway');
  const { address, family, port: found } = bound;
  return { host: address, port: found, url: `http://${family === 'IPv6' ? `[${address}]` : address}:${found}` };
}
