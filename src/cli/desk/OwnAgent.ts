import { readFileSync } from 'node:fs';
import { Agent, type ClientRequestArgs } from 'node:http';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Another user of this machine listens where the own gateway is to be. */
export class ForeignGatewayError extends Error {}

const ESTABLISHED = '01';
const LISTEN = '0A';

/** One row of the system's table of TCP sockets. */
interface SocketRow {
  readonly local: string;
  readonly remote: string;
  readonly state: string;
  readonly uid: number;
}

/**
 * Connections to this user's own processes alone (or root's): what is sent holds tokens and arguments, and any user of the machine may
 * listen on a port that is free just now. Where the system does not tell whose a socket is (not Linux), every one will do.
 */
export class OwnAgent extends Agent {
  override createConnection(
    options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    const socket = connect(options as NetConnectOpts);
    const over = (error: Error | null): void => {
      socket.removeListener('error', over);
      callback?.(error, socket);
    };
    socket.once('error', over);
    socket.once('connect', () => {
      const uid = strangerAt(socket);
      if (uid === undefined) return over(null);
      const why = `what listens on port ${socket.remotePort} belongs to another user (uid ${uid}): nothing was sent to it`;
      socket.destroy();
      over(new ForeignGatewayError(why));
    });
    return undefined;
  }
}

/** The user, neither this one nor root, to whom the other end of a connection within this machine belongs. */
function strangerAt(socket: Socket): number | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  const own = process.getuid?.();
  if (process.platform !== 'linux' || own === undefined) return undefined;
  const [here, there] = [inTable(localAddress, localPort), inTable(remoteAddress, remotePort)];
  const rows = tableOf(remoteAddress?.includes(':') === true ? '6' : '').filter(
    ({ local, remote, state }) => local === there && ((state === ESTABLISHED && remote === here) || state === LISTEN),
  );
  // One that listens on all addresses; IPv6 may take those of IPv4, too.
  if (!rows.some(({ state }) => state === LISTEN)) {
    const port = there?.slice(-5);
    const all = [...tableOf(''), ...tableOf('6')];
    rows.push(
      ...all.filter(({ local, state }) => state === LISTEN && /^0+:/.test(local) && local.endsWith(port ?? '')),
    );
  }
  return rows.find(({ uid }) => uid !== own && uid !== 0)?.uid;
}

function tableOf(kind: '' | '6'): SocketRow[] {
  let text: string;
  try {
    text = readFileSync(`/proc/net/tcp${kind}`, 'latin1');
  } catch {
    return [];
  }
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local, remote, state, , , , uid] = line.trim().split(/\s+/);
      if (local === undefined || remote === undefined || state === undefined) return [];
      return [{ local, remote, state, uid: Number(uid) }];
    });
}

/** An address and a port as the table has them; of IPv6 only the loopback's. */
function inTable(address: string | undefined, port: number | undefined): string | undefined {
  if (address === undefined || port === undefined) return undefined;
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const bytes = address.includes(':') ? (address === '::1' ? LOOPBACK_6 : undefined) : address.split('.').map(Number);
  if (bytes === undefined) return undefined;
  const words: number[] = [];
  for (let at = 0; at < bytes.length; at += 4) words.push(Buffer.from(bytes.slice(at, at + 4)).readUInt32LE());
  return `${words.map((word) => word.toString(16).toUpperCase().padStart(8, '0')).join('')}:${hexPort}`;
}

const LOOPBACK_6 = [...new Array<number>(15).fill(0), 1];
