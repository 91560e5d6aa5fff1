import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Shares } from '../../concurrent/Shares.js';
import type { Clock } from '../../core/clock.js';
import { type TrackedHttpServer, trackHttpServer } from '../../shutdown/TrackedHttpServer.js';
import type { GatewaySettings } from '../GatewayOptions.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import { forgetRest } from '../http/request/forgetRest.js';
import { MAX_HEADERS } from '../http/request/guard.js';
import { forgetSocket, watchSocket } from '../http/request/readInTurns.js';
import { refuseUnparsed } from '../http/request/refuseUnparsed.js';
import { addressOrigin } from '../session/origin.js';

/** Tracks a server of the gateway's own, which has `maxSockets` connections at most. */
export function trackSockets(
  server: Server,
  { maxSockets, maxBodyBytes }: Pick<GatewaySettings, 'maxSockets' | 'maxBodyBytes'>,
  held: HeldBytes,
  clock: Clock,
): TrackedHttpServer {
  const tracked = trackHttpServer(server, { clock });
  const shares = new SocketShares(maxSockets, tracked);
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (refuseUnparsed(error, socket, tracked.isIdle(socket))) forgetRest(socket, maxBodyBytes, held);
  });
  // Node keeps what has come of a head in strings: no more of them than it takes to refuse it.
  server.maxHeadersCount = MAX_HEADERS + 1;
  server.on('connection', (socket) => shares.take(socket));
  return tracked;
}

/**
 * Bounds connections. None of the addresses that they come from takes all of them (`Shares`): a newcomer for which there is no room takes
 * the place of the oldest without a request, of the address that has most, or of its own; where there is none it is not accepted.
 */
class SocketShares {
  readonly #shares: Shares;
  readonly #tracked: TrackedHttpServer;
  /** By address, the oldest first. */
  readonly #open = new Map<string, Set<Socket>>();

  constructor(max: number, tracked: TrackedHttpServer) {
    this.#shares = new Shares(max);
    this.#tracked = tracked;
  }

  /** A connection has come: it counts until it is closed, or is closed at once. */
  take(socket: Socket): void {
    // A pipe of the gateway's own.
    if (socket.remoteAddress === undefined) return;
    const address = addressOrigin(socket.remoteAddress);
    if (!this.#shares.mayTake(address, 1) && !this.#makeRoom(address)) {
      socket.destroy();
      return;
    }
    this.#shares.add(address, 1);
    this.#open.set(address, (this.#open.get(address) ?? new Set()).add(socket));
    watchSocket(socket);
    socket.once('close', () => {
      this.#forget(address, socket);
      forgetSocket(socket);
    });
  }

  #makeRoom(newcomer: string): boolean {
    let most = newcomer;
    for (const address of this.#open.keys()) if (this.#shares.of(address) > this.#shares.of(most)) most = address;
    for (const address of [most, newcomer]) {
      for (const socket of this.#open.get(address) ?? []) {
        if (!this.#tracked.isIdle(socket)) continue;
        this.#forget(address, socket);
        socket.destroy();
        return true;
      }
    }
    return false;
  }

  #forget(address: string, socket: Socket): void {
    const sockets = this.#open.get(address);
    if (sockets?.delete(socket) !== true) return;
    if (sockets.size === 0) this.#open.delete(address);
    this.#shares.add(address, -1);
  }
}
