import type { ServerResponse } from 'node:http';

const NEWLINES = /[\r\n]/;

/** A response of server-sent events, one JSON-RPC message each. What a slow reader does not take is bounded. */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #maxBufferBytes: number;

  constructor(response: ServerResponse, maxBufferBytes: number, headers: Readonly<Record<string, string>> = {}) {
    this.#response = response;
    this.#maxBufferBytes = maxBufferBytes;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      // nginx, and others who took the header over, hold a response back otherwise.
      'x-accel-buffering': 'no',
      ...headers,
    });
    response.flushHeaders();
  }

  /** A message that may be lost: false when the reader is too slow and it was dropped. */
  offer(json: string): boolean {
    const { writableLength, writableEnded, destroyed } = this.#response;
    if (writableEnded || destroyed || writableLength > this.#maxBufferBytes) return false;
    this.#response.write(event(json));
    return true;
  }

  /** A message that may not be lost: an answer. */
  send(json: string): void {
    this.#response.write(event(json));
  }

  /** Keeps what stands between from cutting a quiet stream. */
  heartbeat(): void {
    const { writableLength, writableEnded, destroyed } = this.#response;
    if (writableLength === 0 && !writableEnded && !destroyed) this.#response.write(':\n\n');
  }

  /** Ends it, after `last` when there is one. */
  end(last?: string): void {
    this.#response.end(last === undefined ? undefined : event(last));
  }
}

/** Newlines in JSON text stand only between its tokens, where a space does as well. */
function event(json: string): string {
  return `event: message\ndata: ${NEWLINES.test(json) ? json.replace(/[\r\n]/g, ' ') : json}\n\n`;
}
