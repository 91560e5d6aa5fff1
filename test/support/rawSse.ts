import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpListener } from '../../src/testing/wire/http/HttpListener.js';
import { readBody } from '../../src/testing/wire/http/readBody.js';
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

/** A legacy HTTP+SSE server whose answers a test gives itself, for behaving badly on purpose. Its tools echo their `text`. */
export class RawSse {
  readonly posts: SsePost[] = [];
  readonly streams: ServerResponse[] = [];
  readonly #options: RawSseOptions;
  readonly #http = new HttpListener((req, res) => this.#serve(req, res));

  constructor(options: RawSseOptions) {
    this.#options = options;
  }

  static async listen(options: RawSseOptions = {}): Promise<RawSse> {
    const server = closeAfter(new RawSse(options));
    await server.#http.listen('listen', {});
    return server;
  }

  get url(): string {
    return `${this.#http.origin}/sse`;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { before, onGet, endpoint = '/message?session=1' } = this.#options;
    if (req.method === 'GET') {
      if (onGet?.(req, res) === true) return;
      res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      this.streams.push(res);
      if (endpoint !== null) res.write(`event: endpoint\ndata: ${endpoint}\n\n`);
      return;
    }
    const message = JSON.parse((await readBody(req)).toString());
    const event = (said: unknown): void =>
      void this.streams
        .at(-1)
        ?.write(`event: message\ndata: ${typeof said === 'string' ? said : JSON.stringify(said)}\n\n`);
    const post: SsePost = {
      headers: req.headers,
      message,
      res,
      accept: () => void res.writeHead(202).end('Accepted'),
      event,
      result: (result) => event({ jsonrpc: '2.0', id: message.id, result }),
    };
    this.posts.push(post);
    if (before?.(post) === true) return;
    post.accept();
    if (message.method === 'initialize') {
      const { protocolVersion } = message.params;
      post.result({ protocolVersion, capabilities: {}, serverInfo: { name: 'raw', version: '1' } });
    } else if (message.method === 'tools/call') {
      post.result({ content: [{ type: 'text', text: String(message.params.arguments?.text) }] });
    }
  }
}
