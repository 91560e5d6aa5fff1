import { expect } from 'vitest';
import { closeAfter } from './closeAfter.js';
import { exchange, type Message } from './httpClient.js';

/** One connection of a client of the legacy HTTP+SSE transport, cut at the end of the test. */
export class SseStream {
  readonly url: string;
  readonly #headers: Record<string, string>;
  readonly #control = new AbortController();
  #text = '';
  #wake: (() => void)[] = [];
  #ended = false;

  constructor(url: string, headers: Record<string, string>) {
    this.url = url;
    this.#headers = headers;
    closeAfter({ close: async () => this.cut() });
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<SseStream> {
    const stream = new SseStream(url, headers);
    const accept = { accept: 'text/event-stream', ...headers };
    const response = await fetch(url, { headers: accept, signal: stream.#control.signal });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    void stream.#read(response);
    await stream.until(() => stream.#text.includes('\n\n'));
    return stream;
  }

  async #read(response: Response): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        this.#text += decoder.decode(chunk, { stream: true });
        this.#tell();
      }
    } catch {
      // Cut by this side.
    }
    this.#ended = true;
    this.#tell();
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  async until(found: () => boolean): Promise<void> {
    while (!found()) {
      if (this.#ended) throw new Error(`the stream ended: ${this.#text}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  async end(): Promise<void> {
    while (!this.#ended) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  get address(): string {
    const hit = /^event: endpoint\ndata: (.*)\n\n/.exec(this.#text);
    return new URL(hit?.[1] ?? '', this.url).href;
  }

  get messages(): Message[] {
    return [...this.#text.matchAll(/event: message\ndata: (.*)\n\n/g)].map(
      (hit) => JSON.parse(hit[1] ?? '') as Message,
    );
  }

  get lastId(): string {
    return [...this.#text.matchAll(/^id: (.+)$/gm)].at(-1)?.[1] ?? '';
  }

  async post(message: object, headers = this.#headers): Promise<number> {
    const { status } = await exchange(this.address, {
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ jsonrpc: '2.0', ...message }),
    });
    return status;
  }

  async answer(id: number | string): Promise<Message> {
    const found = (): Message | undefined => this.messages.find((each) => each.id === id && each.method === undefined);
    await this.until(() => found() !== undefined);
    return found() as Message;
  }

  async ask(id: number, message: object): Promise<Message> {
    expect(await this.post({ id, ...message })).toBe(202);
    return this.answer(id);
  }

  cut(): void {
    this.#control.abort();
  }
}
