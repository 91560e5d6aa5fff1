import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport as TransportOfV1 } from '@modelcontextprotocol/sdk/shared/transport.js';

/** The official clients, in the eras that they speak. */
export const KINDS = ['v1 legacy', 'v2 legacy', 'v2 modern'] as const;
export type Kind = (typeof KINDS)[number];

/** One call of a client. */
export interface Made {
  readonly client: string;
  readonly beganMs: number;
  readonly endedMs: number;
  /** What it failed by. */
  readonly error?: string;
}

interface Face {
  readonly call: (text: string) => Promise<unknown>;
  readonly session: () => string | undefined;
  readonly close: () => Promise<void>;
}

/** A client that calls as soon as it is answered, until it is stopped. */
export class LoadClient {
  readonly name: string;
  readonly kind: Kind;
  readonly made: Made[] = [];
  readonly #face: Face;
  readonly #session: string | undefined;
  #over = false;
  #running: Promise<void> | undefined;

  private constructor(name: string, kind: Kind, face: Face) {
    this.name = name;
    this.kind = kind;
    this.#face = face;
    this.#session = face.session();
  }

  static async connect(name: string, kind: Kind, url: URL): Promise<LoadClient> {
    const client = new LoadClient(name, kind, await (kind === 'v1 legacy' ? v1(url) : v2(url, kind)));
    if ((kind === 'v2 modern') !== (client.#session === undefined))
      throw new Error(`${kind}: session ${client.#session}`);
    return client;
  }

  /** Whether it has the session it began with. */
  get same(): boolean {
    return this.#face.session() === this.#session;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when its last call was answered. */
  async stop(): Promise<void> {
    this.#over = true;
    await this.#running;
    await this.#face.close();
  }

  async #run(): Promise<void> {
    for (let count = 0; !this.#over; count++) {
      const text = `${this.name} ${count}`;
      const beganMs = performance.now();
      let error: string | undefined;
      try {
        const result = (await this.#face.call(text)) as { readonly content?: readonly { readonly text?: unknown }[] };
        if (result.content?.[0]?.text !== text) error = `another answer: ${JSON.stringify(result)}`;
      } catch (failure) {
        error = failure instanceof Error ? `${failure.message} ${String(failure.cause ?? '')}`.trim() : String(failure);
      }
      this.made.push({ client: this.name, beganMs, endedMs: performance.now(), ...(error !== undefined && { error }) });
    }
  }
}

async function v1(url: URL): Promise<Face> {
  const client = new ClientV1({ name: 'fleet', version: '1' });
  const transport = new TransportV1(url);
  await client.connect(transport as TransportOfV1);
  return {
    call: (text) => client.callTool({ name: 'echo', arguments: { text } }),
    session: () => transport.sessionId,
    close: () => client.close(),
  };
}

async function v2(url: URL, kind: Kind): Promise<Face> {
  const modern = kind === 'v2 modern';
  const client = new ClientV2({ name: 'fleet', version: '2' }, modern ? { versionNegotiation: { mode: 'auto' } } : {});
  const transport = new TransportV2(url);
  await client.connect(transport);
  return {
    call: (text) => client.callTool({ name: 'echo', arguments: { text } }),
    session: () => transport.sessionId,
    close: () => client.close(),
  };
}
