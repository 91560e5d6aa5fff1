import type { IncomingMessage, ServerResponse } from 'node:http';
import { fakeServer } from '../../src/testing/fake/FakeServer.js';
import type { FakeHttp } from '../../src/testing/fake/http/FakeHttp.js';
import type { FakeHttpExchange } from '../../src/testing/fake/http/FakeHttpOptions.js';
import { closeAfter } from './closeAfter.js';

export interface SsePost {
  readonly headers: IncomingMessage['headers'];
  // biome-ignore lint/suspicious/noExplicitAny: tests read whatever was sent.
  readonly message: any;
  readonly res: ServerResponse;
  /** Accepts the POST. */
  accept(): void;
  /** Writes on the stream. */
  event(message: unknown): void;
  result(result: unknown): void;
}

export interface RawSseOptions {
  /** What the endpoint event says; null: it never comes. */
  readonly endpoint?: string | null;
  /** Takes a POST before everything else; true: it was handled. */
  readonly before?: (post: SsePost) => boolean | undefined;
  readonly onGet?: (req: IncomingMessage, res: ServerResponse) => boolean | undefined;
}

/** A fake server over legacy HTTP+SSE whose answers a test may give itself, for behaving badly on purpose. */
export class RawSse {
  readonly posts: SsePost[] = [];
  readonly streams: ServerResponse[] = [];
  readonly #options: RawSseOptions;
  #http!: FakeHttp;

  private constructor(options: RawSseOptions) {
    this.#options = options;
  }

  static async listen(options: RawSseOptions = {}): Promise<RawSse> {
    const fake = closeAfter(fakeServer({ name: 'raw', capabilities: {}, era: 'legacy' }));
    const server = new RawSse(options);
    server.#http = await fake.listen({ intercept: (exchange) => server.#intercept(exchange) });
    return server;
  }

  get url(): string {
    return this.#http.sseUrl;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #intercept({ req, res, message }: FakeHttpExchange): boolean {
    return req.method === 'GET' ? this.#opened(req, res) : this.#posted(req, res, message);
  }

  #opened(req: IncomingMessage, res: ServerResponse): boolean {
    const { onGet, endpoint } = this.#options;
    if (onGet?.(req, res) === true) return true;
    this.streams.push(res);
    if (endpoint === undefined) return false;
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    if (endpoint !== null) res.write(`event: endpoint\ndata: ${endpoint}\n\n`);
    return true;
  }

  #posted({ headers }: IncomingMessage, res: ServerResponse, message: FakeHttpExchange['message']): boolean {
    const event = (said: unknown): void =>
      void this.streams
        .at(-1)
        ?.write(`event: message\ndata: ${typeof said === 'string' ? said : JSON.stringify(said)}\n\n`);
    const post: SsePost = {
      headers,
      message,
      res,
      accept: () => void res.writeHead(202).end('Accepted'),
      event,
      result: (result) => event({ jsonrpc: '2.0', id: message?.id, result }),
    };
    this.posts.push(post);
    return this.#options.before?.(post) === true;
  }
}
