import { readFile } from 'node:fs/promises';
import { Agent, type ClientRequestArgs } from 'node:http';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemClock } from '../../core/clock.js';
import { sleep } from '../../core/time/sleep.js';

/** Another user of this machine listens where the own gateway is to be. */
export class ForeignGatewayError extends Error {}

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];
/** Behind the names of the columns. */
const ROW = /\n *0: /;
const LISTEN = '0A';
/** How the table of IPv6 begins an address of IPv4. */
const MAPPED = /^0{16}FFFF0000(?=[0-9A-F]{8}:)/;
/** Of an address of IPv4 in the table, with its port. */
const LENGTH_4 = '00000000:0000'.length;
/** What the system tells of a connection may come a moment after it. */
const LOOKS = 20;
const LOOK_MS = 10;

/** One row of the system's tables of TCP sockets, of IPv4 and IPv6. */
interface SocketRow {
  readonly local: string;
  readonly remote: string;
  readonly state: string;
  readonly uid: number;
  /** A connection that no process has accepted yet has none, and no user. */
  readonly accepted: boolean;
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
    let untold = callback;
    const over = (error: Error | null): void => {
      socket.removeListener('error', over);
      untold?.(error, socket);
      untold = undefined;
    };
    socket.once('error', over);
    socket.once('connect', () => {
      void strangerAt(socket).then((stranger) => {
        // It is over meanwhile: if by an error, that has told so.
        if (socket.destroyed) return over(new Error('the connection was ended as soon as it was there'));
        if (stranger === undefined) return over(null);
        const why = `what listens on port ${socket.remotePort} belongs to ${stranger}: nothing was sent to it`;
        socket.destroy();
        over(new ForeignGatewayError(why));
      });
    });
    return undefined;
  }
}

/** To whom the other end of a connection within this machine belongs; undefined where that is this user, or root. */
async function strangerAt(socket: Socket): Promise<string | undefined> {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  const own = process.getuid?.();
  if (process.platform !== 'linux' || own === undefined) return undefined;
  const [here, there] = [inTable(localAddress, localPort), inTable(remoteAddress, remotePort)];
  if (here === undefined || there === undefined) return 'another machine';
  for (let look = 1; look <= LOOKS && !socket.destroyed; look++) {
    const tables = await tablesFromNow();
    // The system tells of no socket, not of this one either, as in some sandboxes.
    if (!tables.some((table) => ROW.test(table))) return undefined;
    const rows = rowsOf(tables, `${there.slice(-5)} `);
    const ends = rows.filter(({ local, remote }) => local === there && remote === here);
    const accepted = ends.filter((each) => each.accepted);
    // An end that is not accepted says nothing of its user: that is its listener's. Without any of both nothing is proved.
    const users = (accepted.length > 0 ? accepted : listenersFor(there, rows)).map(({ uid }) => uid);
    const foreign = users.find((uid) => uid !== own && uid !== 0);
    if (foreign !== undefined) return `another user (uid ${foreign})`;
    if (ends.length > 0 && users.length > 0) return undefined;
    await sleep(systemClock, LOOK_MS);
  }
  return 'a process of which the system does not tell the user';
}

/** Who takes connections to that address: who listens on it, else on all of IPv4, else on all of IPv6, which may take those of IPv4. */
function listenersFor(there: string, rows: readonly SocketRow[]): readonly SocketRow[] {
  const listening = rows.filter(({ state }) => state === LISTEN);
  const port = there.slice(-5);
  const on = (local: string): readonly SocketRow[] => listening.filter((each) => each.local === local);
  const ways = [there, ...(there.length > LENGTH_4 ? [] : [`${'0'.repeat(8)}${port}`]), `${'0'.repeat(32)}${port}`];
  return ways.map(on).find((each) => each.length > 0) ?? [];
}

/** The tables as they are read next: one read serves all who ask before it begins. */
let nextTables: Promise<readonly string[]> | undefined;
let lastTables: Promise<unknown> = Promise.resolve();

function tablesFromNow(): Promise<readonly string[]> {
  nextTables ??= lastTables.then(() => {
    nextTables = undefined;
    const tables = Promise.all(TABLES.map((table) => readFile(table, 'latin1').catch(() => '')));
    lastTables = tables;
    return tables;
  });
  return nextTables;
}

/** The rows of a port, either end's, of the tables; those of others are not looked at: any user may have thousands. */
function rowsOf(tables: readonly string[], port: string): SocketRow[] {
  const rows: SocketRow[] = [];
  for (const table of tables) {
    let line = 0;
    for (let at = table.indexOf(port); at >= 0; at = table.indexOf(port, line)) {
      const start = table.lastIndexOf('\n', at) + 1;
      line = table.indexOf('\n', at);
      if (line < 0) line = table.length;
      const [, local, remote, state, , , , uid, , inode] = table.slice(start, line).trim().split(/\s+/);
      if (local === undefined || remote === undefined || state === undefined) continue;
      const [from, to] = [local.replace(MAPPED, ''), remote.replace(MAPPED, '')];
      rows.push({ local: from, remote: to, state, uid: Number(uid), accepted: inode !== '0' && state !== LISTEN });
    }
  }
  return rows;
}

/** An address and a port as the table has them; of IPv6 only the loopback's. */
function inTable(address: string | undefined, port: number | undefined): string | undefined {
  if (address === undefined || port === undefined) return undefined;
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '');
  const bytes = plain.includes(':') ? (plain === '::1' ? LOOPBACK_6 : undefined) : plain.split('.').map(Number);
  if (bytes === undefined) return undefined;
  const words: number[] = [];
  for (let at = 0; at < bytes.length; at += 4) words.push(Buffer.from(bytes.slice(at, at + 4)).readUInt32LE());
  return `${words.map((word) => word.toString(16).toUpperCase().padStart(8, '0')).join('')}:${hexPort}`;
}

const LOOPBACK_6 = [...new Array<number>(15).fill(0), 1];
