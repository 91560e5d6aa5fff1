import type { Socket } from 'node:net';

const STATUSES: ReadonlyMap<string | undefined, string> = new Map([
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', '413 Payload Too Large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout'],
]);
const refused = new WeakSet<Socket>();

/**
 * Answers what Node's parser refused, as Node does itself, which then ends the connection at once: a client that is still sending
 * never sees the answer, and a load balancer takes that for a replica that failed. True: it
 * was answered, and what its client still sends is to be read and forgotten. What fails where a request is under way, and so is not
 * `idle`, ends its connection.
 */
export function refuseUnparsed(error: NodeJS.ErrnoException, socket: Socket, idle: boolean): boolean {
  // The parser says it again for each piece that follows.
  if (refused.has(socket)) return false;
  const { code = '' } = error;
  const response = Reflect.get(socket, '_httpMessage') as { readonly headersSent: boolean } | null | undefined;
  if (socket.writable && response?.headersSent !== true) {
    const head = `HTTP/1.1 ${STATUSES.get(code) ?? '400 Bad Request'}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`;
    if (idle && code.startsWith('HPE_')) {
      refused.add(socket);
      socket.end(head);
      return true;
    }
    socket.write(head);
  }
  socket.destroy(error);
  return false;
}
