import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { closeAfter } from './closeAfter.js';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** One HTTP client with connections of its own, kept alive; closed at the end of the test. */
export class HttpClient {
  readonly #agent: Agent;

  constructor(maxSockets = Number.POSITIVE_INFINITY) {
    this.#agent = new Agent({ keepAlive: true, maxSockets, maxFreeSockets: 10_000 });
    closeAfter({ close: async () => this.#agent.destroy() });
  }

  /** Connections open now. */
  get sockets(): number {
    const count = (all: NodeJS.ReadOnlyDict<readonly unknown[]>): number =>
      Object.values(all).reduce((sum, each) => sum + (each?.length ?? 0), 0);
    return count(this.#agent.sockets) + count(this.#agent.freeSockets);
  }

  /** Sends one request; rejects with Node's error (`ECONNREFUSED`, `ECONNRESET`) when it gets no whole answer. */
  ask(url: string | URL, options: AskOptions = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const { method = 'GET', headers = {}, body } = options;
      const sent = request(url, { agent: this.#agent, method, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.once('end', () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
        });
        response.once('error', reject);
      });
      sent.once('error', reject);
      sent.end(body);
    });
  }
}
