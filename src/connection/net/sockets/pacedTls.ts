import { EventEmitter } from 'node:events';
import { connect as connectRaw, type NetConnectOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, DEFAULT_CIPHERS, type TLSSocket } from 'node:tls';
import type { buildConnector } from 'undici';
import { lookUp } from '../../../core/net/lookup.js';
import type { TurnBudget } from '../../../core/time/turns.js';
import { NoProgress } from './brokenProtocol.js';

/**
 * Node's, without Diffie-Hellman over finite fields: its parameters are the server's choice, and those of 10,000 bits take 0.7 s at one go, before it is
 * known whose certificate it is. What speaks TLS 1.2 has the elliptic curves, or RSA.
 */
export const CIPHERS = `${DEFAULT_CIPHERS}:!kDHE`;

/**
 * So much that comes in a row may hold no data: a record has 16 KiB, behind it come a few tickets of a session. A handshake has 2 to 8 KB; the
 * certificates of one of 96 KB take OpenSSL half a second at one go, before any is refused.
 */
const MAX_SILENT_BYTES = 32 * 1024;
/** What is decrypted at once: some 150 records that hold a byte or nothing, and as much as one record where they hold data. */
const SLICE_BYTES = 4 * 1024;
const MAX_SLICE_BYTES = 16 * 1024;

/** undici's own connector: it gives the socket back, and speaks TLS over one that it is given. */
export type SocketConnector = (
  options: buildConnector.Options,
  callback: buildConnector.Callback,
) => { destroy(error: Error): void };

/** A connector that speaks TLS over sockets that are read in turns. @throws what `node:tls` throws at `tls`, which `connect` was made with */
export function pacedTls(connect: SocketConnector, tls: ConnectionOptions, turns: TurnBudget): SocketConnector {
  return (options, callback) => {
    if (options.protocol !== 'https:') return connect(options, callback);
    const raw = (options.httpSocket as Socket | undefined) ?? rawSocket(options, tls);
    const paced = new PacedTls(raw, turns);
    try {
      const socket = connect({ ...options, httpSocket: paced as unknown as Socket }, callback);
      paced.over(socket as TLSSocket);
      return socket;
    } catch (error) {
      raw.destroy();
      throw error;
    }
  };
}

/** A connection of its own for a request by `node:https`, in the same way. */
export function pacedConnection(options: ConnectionOptions & NetConnectOpts, turns: TurnBudget): TLSSocket {
  const raw = connectRaw(options);
  const paced = new PacedTls(raw, turns);
  const socket = connectTls({ ciphers: CIPHERS, ...options, socket: paced as unknown as Socket });
  paced.over(socket);
  return socket;
}

/** As undici and `tls.connect` make theirs: the options of TLS may say how to look up a name. */
function rawSocket({ hostname, port, localAddress }: buildConnector.Options, tls: ConnectionOptions): Socket {
  const address = { host: hostname, port: Number(port || 443), localAddress };
  const more = { highWaterMark: 64 * 1024, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 };
  return connectRaw({ lookup: lookUp, ...tls, ...address, ...more } as NetConnectOpts);
}

/**
 * What TLS reads and writes a socket by, in the place of Node's own way, which decrypts all that comes: up to 32 times 16 KiB of each socket in a
 * turn of the event loop, with no word to anyone about records that hold nothing (tickets of sessions, updates of keys), and one for each that
 * holds a byte. Here ciphertext is handed on in slices. What records take that hold little is counted in `turns`, beyond which the next
 * slice waits for the next turn; 32 KiB in a row that hold nothing end the connection, those of a handshake, too.
 *
 * Of a stream it has what `tls.connect` asks of one: it is not read but tells its data, between `resume` and `pause`.
 */
class PacedTls extends EventEmitter {
  readonly readable = true;
  readonly writable = true;
  readonly #raw: Socket;
  readonly #turns: TurnBudget;
  #socket: TLSSocket | undefined;
  /** Of what was read: not handed on yet. */
  #rest: Buffer | undefined;
  #flowing = false;
  #held = false;
  #ended = false;
  /** The last slice held little. */
  #odd = true;
  #silentBytes = 0;

  constructor(raw: Socket, turns: TurnBudget) {
    super();
    this.#raw = raw;
    this.#turns = turns;
    raw.on('data', (chunk: Buffer) => {
      this.#rest = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
      this.#handOn();
    });
    raw.once('end', () => {
      this.#ended = true;
      this.#handOn();
    });
  }

  /** The socket that was made over this one: it hears of errors, which Node keeps from it until its handshake is over. */
  over(socket: TLSSocket): void {
    const raw = this.#raw;
    this.#socket = socket;
    raw.on('error', (error) => socket.destroy(error));
    raw.once('close', () => {
      this.emit('close');
      socket.destroy();
    });
    socket.once('secureConnect', () => {
      this.#silentBytes = 0;
    });
    socket.ref = () => {
      raw.ref();
      return socket;
    };
    socket.unref = () => {
      raw.unref();
      return socket;
    };
  }

  pause(): this {
    this.#flowing = false;
    return this;
  }

  resume(): this {
    this.#flowing = true;
    // Not within the reading that asks for it.
    if (this.#rest !== undefined || this.#ended) process.nextTick(() => this.#handOn());
    else this.#raw.resume();
    return this;
  }

  write(chunk: Buffer, done: (error?: Error | null) => void): boolean {
    return this.#raw.write(chunk, done);
  }

  cork(): void {
    this.#raw.cork();
  }

  uncork(): void {
    this.#raw.uncork();
  }

  end(done: () => void): void {
    this.#raw.end(done);
  }

  destroy(): void {
    this.#rest = undefined;
    this.#raw.destroy();
  }

  #handOn(): void {
    while (this.#rest !== undefined && this.#flowing && !this.#held && !this.#raw.destroyed) {
      if (this.#odd && this.#turns.spent) this.#hold();
      else this.#slice(this.#rest);
    }
    if (this.#raw.destroyed) return;
    if (this.#rest !== undefined || !this.#flowing) this.#raw.pause();
    else if (!this.#ended) this.#raw.resume();
    else this.emit('end');
  }

  #slice(rest: Buffer): void {
    const bytes = Math.min(rest.length, this.#odd ? SLICE_BYTES : MAX_SLICE_BYTES);
    this.#rest = bytes < rest.length ? rest.subarray(bytes) : undefined;
    const startMs = performance.now();
    const before = this.#socket?.bytesRead ?? 0;
    this.emit('data', bytes < rest.length ? rest.subarray(0, bytes) : rest);
    const told = (this.#socket?.bytesRead ?? 0) - before;
    this.#odd = told < bytes / 2;
    this.#silentBytes = told > 0 ? 0 : this.#silentBytes + bytes;
    if (this.#odd) this.#turns.spend(0, 0, startMs);
    if (this.#silentBytes > MAX_SILENT_BYTES) {
      this.#socket?.destroy(new NoProgress(`${this.#silentBytes} bytes of TLS in a row hold no data`));
    }
  }

  #hold(): void {
    this.#held = true;
    this.#turns.inNextTurn(() => {
      this.#held = false;
      this.#handOn();
    });
  }
}
