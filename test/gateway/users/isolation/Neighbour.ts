import type { Ledger, Message, Params } from './Ledger.js';

/** How a client reaches its server. */
export interface Line {
  /** Sends a message; what comes of it on the same exchange is handed over. Resolves when that has ended. */
  send(message: object): Promise<void>;
  close(): Promise<void>;
}

export interface NeighbourOptions {
  readonly ledger: Ledger;
  readonly line: (heard: (message: Message) => void) => Promise<Line> | Line;
  readonly era: 'legacy' | 'modern';
  /** What its server's `say` is called there. */
  readonly tool: string;
  /** Questions are put to it. */
  readonly isAsked: boolean;
}

const VERSION = '2026-07-28';
const META = 'io.modelcontextprotocol';
const CAPABILITIES = { sampling: {}, elicitation: {} };
const ROUNDS = 4;

const REPLIES: Readonly<Record<string, (who: string) => object>> = {
  'sampling/createMessage': (who) => ({
    role: 'assistant',
    model: 'm',
    content: { type: 'text', text: `reply=${who}` },
  }),
  'elicitation/create': (who) => ({ action: 'accept', content: { who: `reply=${who}` } }),
};

/** A client of one server by one front, which makes calls, answers questions, and keeps its ledger. */
export class Neighbour {
  readonly #ledger: Ledger;
  readonly #options: NeighbourOptions;
  readonly #waiting = new Map<unknown, (message: Message) => void>();
  readonly #texts: string[] = [];
  #line!: Line;

  private constructor(options: NeighbourOptions) {
    this.#options = options;
    this.#ledger = options.ledger;
  }

  static async open(options: NeighbourOptions): Promise<Neighbour> {
    const neighbour = new Neighbour(options);
    neighbour.#line = await options.line((message) => neighbour.#heard(message));
    await neighbour.#begin();
    return neighbour;
  }

  get name(): string {
    return this.#ledger.who.principal ?? 'nobody';
  }

  /** What it heard that names another: markers in plain text, beside the stamps. */
  get strangers(): readonly string[] {
    return this.#texts;
  }

  /** One call, with all that its server says about it. */
  async say(n: number): Promise<void> {
    const { tool, isAsked } = this.#options;
    const fails = n % 3 === 0;
    const asks = isAsked && n % 4 === 1 ? { asks: n % 8 === 1 ? 'sampling' : 'elicitation' } : {};
    const args = { who: this.name, ...(n % 5 === 0 && { uri: this.#uri }), changes: n % 7 === 0, fails, ...asks };
    const id = this.#ledger.nextId();
    const { call, params } = this.#ledger.invoke({ name: tool, arguments: args, ...this.#meta }, id, !fails);
    let own: Params = params;
    for (let round = 0; round < ROUNDS; round++) {
      const needed = await this.#request(round === 0 ? id : this.#ledger.nextId(), own, call);
      if (needed === undefined) break;
      own = { ...params, ...needed };
    }
    if (n % 11 === 0) await this.list();
  }

  /** The list of its tools, from wherever it is kept. */
  async list(): Promise<void> {
    const { result } = await this.#ask('tools/list', this.#meta);
    this.#ledger.listed((result?.['tools'] ?? []) as { readonly name: string }[]);
  }

  close(): Promise<void> {
    return this.#line.close();
  }

  get #uri(): string {
    return `x:${this.#ledger.who.session}`;
  }

  get #meta(): Params {
    if (this.#options.era === 'legacy') return {};
    return {
      _meta: {
        [`${META}/protocolVersion`]: VERSION,
        [`${META}/clientCapabilities`]: CAPABILITIES,
        [`${META}/clientInfo`]: { name: this.name, version: '1' },
        [`${META}/logLevel`]: 'debug',
      },
    };
  }

  async #begin(): Promise<void> {
    if (this.#options.era === 'modern') {
      // It stays open; what it hears is told like everything else.
      const notifications = { toolsListChanged: true, resourceSubscriptions: [this.#uri] };
      const id = this.#ledger.nextId();
      this.#waiting.set(id, () => undefined);
      void this.#line.send({ id, method: 'subscriptions/listen', params: { ...this.#meta, notifications } });
      return;
    }
    const clientInfo = { name: this.name, version: '1' };
    await this.#ask('initialize', { protocolVersion: '2025-11-25', capabilities: CAPABILITIES, clientInfo });
    await this.#line.send({ method: 'notifications/initialized' });
    await this.#ask('logging/setLevel', { level: 'debug' });
    await this.#ask('resources/subscribe', { uri: this.#uri });
  }

  /** A request that is no call of the history. */
  #ask(method: string, params: Params): Promise<Message> {
    const id = this.#ledger.nextId();
    return this.#exchange(id, { id, method, params });
  }

  /** Resolves to what is still needed; undefined when the call is over. */
  async #request(id: number, params: Params, call: string): Promise<Params | undefined> {
    this.#ledger.sent(call, id);
    const answer = await this.#exchange(id, { id, method: 'tools/call', params });
    if (answer.method === 'none') this.#ledger.lost(call, String(answer.error?.message));
    const { inputRequests, requestState, resultType } = answer.result ?? {};
    if (resultType !== 'input_required') return undefined;
    const inputResponses = Object.fromEntries(
      Object.entries(inputRequests as Record<string, Message>).map(([key, { method = '' }]) => [
        key,
        REPLIES[method]?.(this.name),
      ]),
    );
    return { inputResponses, requestState };
  }

  async #exchange(id: number, message: object): Promise<Message> {
    const answer = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    const sent = this.#line.send(message).catch((error: unknown) => {
      this.#waiting.get(id)?.({ method: 'none', error: { message: String(error) } });
    });
    const got = await answer;
    await sent;
    return got;
  }

  /** Again when its connection broke: a server that gets no answer waits for ever. */
  async #reply(message: object): Promise<void> {
    await this.#line.send(message).catch(() => this.#line.send(message));
  }

  #heard(message: Message): void {
    const { id, method } = message;
    const text = JSON.stringify(message);
    for (const [what, whose] of text.matchAll(/\b(?:log|result|error|reply)=(\w+)/g)) {
      if (whose !== this.name) this.#texts.push(`${this.#ledger.who.session} heard: ${what}`);
    }
    const waits = method === undefined ? this.#waiting.get(id) : undefined;
    if (waits === undefined || this.#ledger.isCall(id)) {
      if (this.#ledger.took(message) === 'asked') {
        void this.#reply({ id, result: REPLIES[method ?? '']?.(this.name) ?? {} });
      }
    }
    this.#waiting.delete(id);
    waits?.(message);
  }
}
