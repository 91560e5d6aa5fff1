import type { ServerResponse } from 'node:http';
import type { StatusData, StatusSnapshot } from './StatusData.js';

/** Pages open at once. */
const MAX_STREAMS = 50;
/** A page that has not taken so much is cut: it comes back by itself. */
const MAX_UNSENT_BYTES = 4 * 1_024 * 1_024;
/** Of one event, which is written whole. */
const MAX_EVENT_BYTES = MAX_UNSENT_BYTES;

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

  /** What a page begins with. */
  hello(response: ServerResponse, data: StatusData): void {
    this.#write(response, frame('hello', data) ?? frame('hello', fitted(data)));
  }

  snapshot(snapshot: StatusSnapshot): void {
    const alone = (): StatusData => fitted({ snapshot, history: { times: [], servers: {} }, events: [] });
    this.#send(frame('snapshot', snapshot) ?? frame('snapshot', alone().snapshot));
  }

  send(event: 'event' | 'points', data: object): void {
    if (this.#open.size > 0) this.#send(frame(event, data));
  }

  /** For good: a page that comes back is refused. */
  end(): void {
    this.#ended = true;
    for (const response of this.#open) response.end();
    this.#open.clear();
  }

  #send(text: string | undefined): void {
    for (const response of this.#open) this.#write(response, text);
  }

  #write(response: ServerResponse, text: string | undefined): void {
    if (response.writableLength > MAX_UNSENT_BYTES) response.destroy();
    else if (text !== undefined) response.write(text);
  }
}

/** JSON has no line breaks of its own. Undefined beyond the bound. */
function frame(event: string, data: object): string | undefined {
  const text = `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  return Buffer.byteLength(text) > MAX_EVENT_BYTES ? undefined : text;
}

/** As much of it as one event may have: servers, open calls, and the newest of what happened and of the charts. */
function fitted(data: StatusData): StatusData {
  const { snapshot, history, events } = data;
  const { open, openMore } = snapshot;
  const all = Object.entries(history.servers);
  const bare = {
    ...data,
    snapshot: { ...snapshot, servers: [], open: [] },
    history: { times: [], servers: {} },
    events: [],
  };
  // The words of the event, and more digits in `openMore`.
  let room = MAX_EVENT_BYTES - bytesOf(bare) - 128;
  const fitting = <T>(items: readonly T[]): T[] => {
    let count = 0;
    for (const item of items) {
      const bytes = bytesOf(item) + 1;
      if (bytes > room) break;
      room -= bytes;
      count++;
    }
    return items.slice(0, count);
  };
  const servers = fitting(snapshot.servers);
  const oldest = fitting(open);
  const newest = fitting([...events].reverse()).reverse();
  room -= bytesOf(all.map(([name]) => [name, []]));
  const looks = fitting(history.times.map((at, i) => [at, ...all.map(([, points]) => points[i])]).reverse()).length;
  const from = history.times.length - looks;
  const past = all.map(([name, points]) => [name, points.slice(from)] as const);
  return {
    ...data,
    snapshot: { ...snapshot, servers, open: oldest, openMore: openMore + open.length - oldest.length },
    history: looks === 0 ? bare.history : { times: history.times.slice(from), servers: Object.fromEntries(past) },
    events: newest,
  };
}

const bytesOf = (data: unknown): number => Buffer.byteLength(JSON.stringify(data));
