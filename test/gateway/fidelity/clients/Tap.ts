// undici puts a dispatcher of its own under every `fetch` of the process, and its sockets would outlive the test: what was there
// stays there.
await fetch('data:,');
const KEY = Symbol.for('undici.globalDispatcher.1');
const globals = globalThis as { [KEY]?: unknown };
const before = globals[KEY];
const { Agent, fetch: undiciFetch } = await import('undici');
globals[KEY] = before;

type Sockets = InstanceType<typeof Agent>;
type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** A client's `fetch`, seen from outside: when bytes come, and a stream that is cut behind its first event. */
export class Tap {
  readonly #fetch: Fetch;
  readonly #sockets: Sockets | undefined;
  #cutNext = false;
  #waiting: (() => void)[] = [];

  /** `silenceMs`: a response without a sign of life for so long is given up. By default it is the machine's own `fetch`. */
  constructor(silenceMs?: number) {
    this.#sockets =
      silenceMs === undefined ? undefined : new Agent({ headersTimeout: silenceMs, bodyTimeout: silenceMs });
    this.#fetch = this.#sockets === undefined ? globalThis.fetch : over(this.#sockets);
  }

  /** Ends the sockets that are its own. */
  async close(): Promise<void> {
    await this.#sockets?.destroy();
  }

  /** Cuts the stream of the next POST behind its first event with an id. */
  cutNext(): void {
    this.#cutNext = true;
  }

  /** Resolves at the next bytes that come in answer to a POST. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  readonly fetch: Fetch = async (url, init) => {
    const response = await this.#fetch(url, init);
    if (response.body === null || init?.method !== 'POST') return response;
    const cut = this.#cutNext && response.headers.get('content-type')?.startsWith('text/event-stream') === true;
    if (cut) this.#cutNext = false;
    let seen = '';
    const tapped = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          for (const told of this.#waiting.splice(0)) told();
          controller.enqueue(chunk);
          if (!cut) return;
          seen += Buffer.from(chunk).toString();
          if (/^id: ?.*[\s\S]*\n\n/m.test(seen)) controller.error(new Error('cut by the test'));
        },
      }),
    );
    const { status, statusText, headers } = response;
    return new Response(tapped, { status, statusText, headers });
  };
}

function over(dispatcher: Sockets): Fetch {
  return async (url, init) => (await undiciFetch(url, { ...init, dispatcher } as never)) as unknown as Response;
}
