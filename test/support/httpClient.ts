import { type IncomingHttpHeaders, request } from 'node:http';

/** A JSON-RPC message as it came. */
export interface Message {
  readonly id?: string | number | null;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: Record<string, unknown> };
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Of a JSON body or of the events. */
  readonly messages: readonly Message[];
}

/** One HTTP exchange on a connection of its own, with exactly these headers. */
export function exchange(
  url: string,
  options: { readonly method?: string; readonly headers?: Record<string, string>; readonly body?: string | Buffer },
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const { method = 'POST', headers = {}, body } = options;
    const outgoing = request(url, { method, headers, agent: false }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => {
        text += chunk;
      });
      incoming.on('end', () => {
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, messages: messagesOf(text) });
      });
      incoming.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

export function messagesOf(text: string): Message[] {
  if (text === '') return [];
  if (!/^(event|data|id|retry|:)/.test(text)) return [JSON.parse(text) as Message].flat();
  return [...text.matchAll(/^data: (.*)$/gm)].map((hit) => JSON.parse(hit[1] ?? '') as Message);
}

/** A client of one endpoint that shows everything a client gets. */
export class RawClient {
  readonly url: string;
  sessionId = '';
  readonly #own: Record<string, string>;
  #id = 0;

  /** `own`: headers of each request, such as who it is from. */
  constructor(url: string, own: Record<string, string> = {}) {
    this.url = url;
    this.#own = own;
  }

  get headers(): Record<string, string> {
    return {
      ...this.#own,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(this.sessionId === '' ? {} : { 'mcp-session-id': this.sessionId }),
    };
  }

  async initialize(protocolVersion = '2025-11-25', capabilities: object = {}): Promise<Message> {
    const params = { protocolVersion, capabilities, clientInfo: { name: 'raw', version: '1' } };
    const { headers, messages } = await this.send({ jsonrpc: '2.0', id: 'init', method: 'initialize', params });
    this.sessionId = String(headers['mcp-session-id'] ?? '');
    await this.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
    return messages[0] ?? {};
  }

  send(message: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    return exchange(this.url, { headers: { ...this.headers, ...headers }, body: JSON.stringify(message) });
  }

  /** The one answer to a request. */
  async call(method: string, params?: unknown, id: string | number = ++this.#id): Promise<Message> {
    const { messages } = await this.send({ jsonrpc: '2.0', id, method, params });
    return messages.find((each) => each.id === id) ?? {};
  }

  /** Opens the stream for what belongs to no call. */
  listen(): Promise<EventReader> {
    return new Promise((resolve, reject) => {
      const outgoing = request(this.url, { method: 'GET', headers: this.headers, agent: false }, (incoming) => {
        resolve(new EventReader(incoming.setEncoding('utf8')));
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  }
}

/** What comes down a stream, message by message. */
export class EventReader {
  readonly ended: Promise<void>;
  /** Resolves at the first comment. */
  readonly commented: Promise<void>;
  readonly messages: Message[] = [];
  readonly #stream: NodeJS.ReadableStream & { destroy(): unknown };
  #waiting: (() => void)[] = [];

  constructor(stream: NodeJS.ReadableStream & { destroy(): unknown }) {
    this.#stream = stream;
    let rest = '';
    stream.on('data', (chunk: string) => {
      const pieces = (rest + chunk).split('\n\n');
      rest = pieces.pop() ?? '';
      for (const piece of pieces) this.messages.push(...messagesOf(piece));
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.commented = new Promise((resolve) => {
      stream.on('data', (chunk: string) => {
        if (chunk.startsWith(':')) resolve();
      });
    });
    this.ended = new Promise((resolve) => stream.on('close', () => resolve()));
  }

  /** Resolves when `count` messages came. */
  async has(count: number): Promise<readonly Message[]> {
    while (this.messages.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.messages;
  }

  async stop(): Promise<void> {
    this.#stream.destroy();
    await this.ended;
  }
}
