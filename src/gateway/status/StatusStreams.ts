import type { ServerResponse } from 'node:http';

/** Pages open at once. */
const MAX_STREAMS = 50;
/** A page that has not taken so much is cut: it comes back by itself. */
const MAX_UNSENT_BYTES = 4 * 1_024 * 1_024;

/** The event streams of open pages. */
export class StatusStreams {
  readonly #open = new Set<ServerResponse>();
  #ended = false;

  get size(): number {
    return this.#open.size;
  }

  /** False when there are too many, or the gateway stops. */
  open(response: ServerResponse): boolean {
    if (this.#ended || this.#open.size >= MAX_STREAMS) return false;
    this.#open.add(response);
    response.once('close', () => this.#open.delete(response));
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
    // A page whose gateway went away is to be back within the second.
    response.write('retry: 500\n\n');
    return true;
  }

  send(event: string, data: object): void {
    if (this.#open.size === 0) return;
    const text = frame(event, data);
    for (const response of this.#open) this.#write(response, text);
  }

  sendTo(response: ServerResponse, event: string, data: object): void {
    this.#write(response, frame(event, data));
  }

  /** For good: a page that comes back is refused. */
  end(): void {
    this.#ended = true;
    for (const response of this.#open) response.end();
    this.#open.clear();
  }

  #write(response: ServerResponse, text: string): void {
    if (response.writableLength > MAX_UNSENT_BYTES) response.destroy();
    else response.write(text);
  }
}

/** JSON has no line breaks of its own. */
const frame = (event: string, data: object): string => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
