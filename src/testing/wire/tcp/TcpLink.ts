import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../../core/clock.js';
import type { Injection } from '../../faults/FaultPlan.js';
import { Flow } from './Flow.js';
import { resetSocket } from './resetSocket.js';

export interface TcpLinkOptions {
  readonly client: Socket;
  readonly server: Socket;
  readonly clock: Clock;
  readonly delayMs: number;
  /** What befalls the exchange that begins now. */
  readonly nextExchange: () => Injection | undefined;
  /** No listener for so long, and every connection is reset. */
  readonly refuse: (ms: number) => void;
}

const REFUSE_MS = 500;
const SLOW_CLOSE_MS = 1_000;

/** A client's TCP connection and the one to the server: bytes pass both ways, exchange by exchange as a plan says. */
export class TcpLink {
  readonly #options: TcpLinkOptions;
  readonly #up: Flow;
  readonly #down: Flow;
  readonly #timers = new Set<Timer>();
  /** What befalls the exchange that is under way. */
  #injection: Injection | undefined;
  #answered = true;
  #silent = false;
  /** What may still pass of this exchange, by direction. */
  #left: { upstream: number; downstream: number } | undefined;

  constructor(options: TcpLinkOptions) {
    this.#options = options;
    const { client, server, clock } = options;
    this.#up = new Flow(client, server, clock);
    this.#down = new Flow(server, client, clock);
    client.on('data', (chunk: Buffer) => this.#sent(chunk));
    server.on('data', (chunk: Buffer) => this.#got(chunk));
    client.on('end', () => this.#ended(this.#up));
    server.on('end', () => this.#ended(this.#down));
    for (const socket of [client, server]) {
      socket.on('error', () => this.reset());
      socket.on('close', () => {
        if (client.destroyed && server.destroyed) this.#stop();
        // Without an end before it, a close is a reset, or a side that is gone for good.
        else if (!socket.readableEnded) this.reset();
      });
    }
  }

  /** Both sides are reset. */
  reset(): void {
    this.#stop();
    resetSocket(this.#options.client);
    resetSocket(this.#options.server);
  }

  #sent(chunk: Buffer): void {
    if (this.#silent) return;
    if (this.#answered) this.#begin();
    if (this.#silent || this.#options.client.destroyed) return;
    this.#pass(this.#up, 'upstream', chunk);
  }

  #got(chunk: Buffer): void {
    this.#answered = true;
    if (this.#silent) return;
    const { fault, settings, delayMs } = this.#injection ?? {};
    if (fault === 'resetPeer' && settings?.stream !== 'upstream') this.#soon(delayMs, () => this.reset());
    else this.#pass(this.#down, 'downstream', chunk);
  }

  /** A new exchange: what shaped the last one shapes no more. */
  #begin(): void {
    this.#answered = false;
    const injection = this.#options.nextExchange();
    this.#injection = injection;
    this.#left = undefined;
    const toward = injection?.settings.stream ?? 'downstream';
    const shape = injection === undefined ? {} : shapeOf(injection, this.#options.delayMs);
    this.#up.shape(toward === 'upstream' ? shape : {});
    this.#down.shape(toward === 'downstream' ? shape : {});
    if (injection === undefined) return;
    const { fault, settings, delayMs } = injection;
    switch (fault) {
      case 'refused':
        this.#options.refuse(delayMs ?? REFUSE_MS);
        break;
      case 'timeout':
        this.#silent = true;
        if (delayMs !== undefined) this.#soon(delayMs, () => this.#close());
        break;
      case 'resetPeer':
        if (toward === 'upstream') {
          this.#silent = true;
          this.#soon(delayMs, () => this.reset());
        }
        break;
      case 'limitData': {
        const left = { upstream: Number.POSITIVE_INFINITY, downstream: Number.POSITIVE_INFINITY };
        this.#left = { ...left, [toward]: settings.bytes ?? 1 };
        break;
      }
      default:
    }
  }

  #pass(flow: Flow, toward: 'upstream' | 'downstream', chunk: Buffer): void {
    const left = this.#left?.[toward] ?? Number.POSITIVE_INFINITY;
    flow.push(left < chunk.length ? chunk.subarray(0, left) : chunk);
    if (this.#left !== undefined) this.#left[toward] -= chunk.length;
    if (left > chunk.length) return;
    this.#silent = true;
    this.#close();
  }

  /** Both sides are closed, once what was passed on is with them. */
  #close(): void {
    this.#up.end({ destroy: true });
    this.#down.end({ destroy: true });
  }

  #ended(flow: Flow): void {
    const { fault, delayMs = SLOW_CLOSE_MS } = this.#injection ?? {};
    flow.end({ afterMs: fault === 'slowClose' ? delayMs : 0 });
  }

  #soon(ms: number | undefined, work: () => void): void {
    if (ms === undefined || ms === 0) {
      work();
      return;
    }
    const timer = this.#options.clock.setTimer(
      () => {
        this.#timers.delete(timer);
        work();
      },
      ms,
      { ref: true },
    );
    this.#timers.add(timer);
  }

  #stop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#up.close();
    this.#down.close();
  }
}

function shapeOf({ fault, settings, delayMs }: Injection, standardMs: number) {
  switch (fault) {
    case 'latency':
      return { lateMs: delayMs ?? standardMs };
    case 'bandwidth':
      return { bytesPerSec: settings.bytesPerSec ?? 1_024 };
    case 'slicer':
      return { pieceBytes: settings.bytes ?? 1, pieceEveryMs: delayMs ?? 0 };
    default:
      return {};
  }
}
