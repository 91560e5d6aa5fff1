import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { objectOf } from '../../../connection/protocol/objectOf.js';
import { systemClock } from '../../../core/clock.js';
import { messageOf, OutcomeUnknownError, PoolkitError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { within, withTimeoutSignal } from '../../../core/time/within.js';
import type { Instrument } from '../../../observe/Instrument.js';
import type { McpPool } from '../../../pool/McpPool.js';
import type { InFlight } from '../../../shutdown/InFlight.js';
import { requestName } from '../../../shutdown/names.js';
import type { HeldBytes } from '../../http/HeldBytes.js';
import { refuseLate } from '../../http/request/late.js';
import { readBody } from '../../http/request/readBody.js';
import { JSON_TYPE, sendText } from '../../http/respond.js';
import type { LargeBody } from '../../rpc/LargeBody.js';
import { bytesInFlight, parsedInTurns } from '../../rpc/readMessages.js';
import { addressOrigin } from '../../session/origin.js';

export interface StatusActionsOptions {
  readonly pool: McpPool;
  readonly held: HeldBytes;
  readonly inFlight: InFlight;
  readonly logger: Logger;
  readonly token: string;
  /** Requests of clients that are not answered yet. */
  readonly instrument: Pick<Instrument, 'openRequests' | 'openCalls'>;
  /** Told what an operator did. */
  readonly note: (server: string | null, text: string) => void;
}

const MAX_BODY_BYTES = 1_024 * 1_024;
const BODY_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 60_000;
const LIST_TIMEOUT_MS = 10_000;
const TOO_MUCH = 'too much is being sent to this proxy at once: try again';

/** What an action is asked with. */
interface Asked {
  readonly action?: unknown;
  readonly id?: unknown;
  readonly server?: unknown;
  readonly tool?: unknown;
  readonly arguments?: unknown;
}

/** As whom a server is asked. */
type OwnCaller = { readonly caller?: { readonly key: string; readonly origin: string } };

/** What the page can do: cancel a call, restart, stop and start a server, try a tool. Each must come with the page's token. */
export class StatusActions {
  readonly #options: StatusActionsOptions;
  readonly #open = new Set<AbortController>();
  #sessions = 0;

  constructor(options: StatusActionsOptions) {
    this.#options = options;
  }

  /** Answers one POST. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A form of another page can neither set this header nor read the token.
    if (!this.#isOurs(request.headers['x-poolkit-token'])) return answer(response, 403, { error: 'reload the page' });
    return this.#during(request, response, (signal) => this.#handle(request, response, signal));
  }

  async #handle(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const { held } = this.#options;
    const owner = '';
    const body = await readBody(request, { maxBytes: MAX_BODY_BYTES, timeoutMs: BODY_TIMEOUT_MS, held, owner });
    if ('gone' in body) return;
    if ('status' in body) return answer(response, body.status, { error: body.why });
    const { text } = body;
    const bytes = bytesInFlight(text.length, text.length);
    if (!held.takeFor(owner, bytes)) return answer(response, held.refusalOf(owner), { error: TOO_MUCH });
    try {
      await this.#perform(text, request, response, signal);
    } finally {
      held.giveBackFor(owner, bytes);
    }
  }

  async #perform(
    text: string | LargeBody,
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const { logger } = this.#options;
    const read = await parsedInTurns(text);
    if ('failure' in read) return answer(response, read.status, { error: read.failure.message });
    try {
      const acted = this.#act((read.value as Asked | null) ?? {}, request, signal);
      const result = await within(acted, { clock: systemClock, signal });
      if (!(result instanceof Uint8Array)) return answer(response, 200, { result });
      sendText(response, 200, JSON_TYPE, [
        Buffer.from('{"result":'),
        Buffer.from(result.buffer, result.byteOffset, result.length),
        END,
      ]);
    } catch (error) {
      logger.debug({ error }, 'an action of the status page failed');
      const code = error instanceof PoolkitError ? error.code : undefined;
      answer(response, 200, { error: messageOf(error), code });
    }
  }

  /** The tools of one server. */
  tools(server: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pool } = this.#options;
    return this.#during(request, response, async (gone) => {
      try {
        const { items } = await withTimeoutSignal(LIST_TIMEOUT_MS, gone, (signal) => {
          const list = (caller: OwnCaller): ReturnType<typeof pool.listAll> =>
            pool.listAll(server, 'tools', { signal, ...caller });
          return within(this.#asItself(server, request, list), { clock: systemClock, signal });
        });
        answer(response, 200, { tools: items });
      } catch (error) {
        answer(response, 200, { error: messageOf(error) });
      }
    });
  }

  /** The grace is over: what is under way is answered with that. */
  failInFlight(reason: unknown): void {
    for (const each of this.#open) each.abort(reason);
  }

  /** What is done for one request is in flight, and nothing waits for it when its page has left. */
  async #during(
    request: IncomingMessage,
    response: ServerResponse,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { inFlight, logger } = this.#options;
    if (inFlight.refusing) return refuseLate(response, logger);
    const entry = inFlight.begin(requestName(request));
    const gone = new AbortController();
    this.#open.add(gone);
    response.once('close', () => {
      entry.end();
      this.#open.delete(gone);
      gone.abort(new Error('the page went away'));
    });
    await work(gone.signal);
  }

  async #act(
    { action, id, server, tool, arguments: given }: Asked,
    request: IncomingMessage,
    signal: AbortSignal,
  ): Promise<unknown> {
    if (action === 'cancel') return this.#cancel(String(id));
    const { pool } = this.#options;
    const name = String(server);
    switch (action) {
      case 'restart':
        this.#note(name, 'restart asked for on the page');
        return pool.restartServer(name);
      case 'stop':
        this.#note(name, 'stop asked for on the page');
        return pool.stopServer(name);
      case 'start':
        this.#note(name, 'start asked for on the page');
        return pool.startServer(name);
      case 'call':
        return this.#call(name, { name: String(tool), arguments: objectOf(given) }, request, signal);
      default:
        throw new Error('action must be cancel, restart, stop, start or call');
    }
  }

  #cancel(id: string): { readonly cancelled: boolean } {
    const { instrument, note } = this.#options;
    const request = instrument.openRequests.find((each) => each.id === id);
    if (request === undefined) return { cancelled: false };
    const call = instrument.openCalls.find(({ parent }) => parent === request);
    const server = call?.server ?? null;
    note(server, `${request.method} ${request.target ?? ''} cancelled on the page`);
    request.cancel(new OutcomeUnknownError(server ?? 'gateway', request.method, 'an operator cancelled it'));
    return { cancelled: true };
  }

  async #call(
    server: string,
    params: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> | undefined },
    request: IncomingMessage,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { pool } = this.#options;
    this.#note(server, `tool ${params.name} tried on the page`);
    // As bytes: one of megabytes is neither parsed nor written anew.
    return this.#asItself(server, request, (caller) =>
      pool.request(server, 'tools/call', params, { signal, deadlineMs: CALL_TIMEOUT_MS, raw: true, ...caller }),
    );
  }

  /** @throws ServerNotFoundError; of a server that is not there nothing is noted */
  #note(server: string, text: string): void {
    const { pool, note } = this.#options;
    pool.state(server);
    note(server, text);
  }

  /** A `bound` server is asked in a session of its own, which ends with the answer: another page's question has another. */
  async #asItself<T>(server: string, { socket }: IncomingMessage, ask: (caller: OwnCaller) => Promise<T>): Promise<T> {
    const { pool } = this.#options;
    if (pool.config(server)?.sharing !== 'bound') return ask({});
    const key = `status page ${++this.#sessions}`;
    try {
      return await ask({ caller: { key, origin: addressOrigin(socket?.remoteAddress) } });
    } finally {
      await pool.releaseKey(server, key);
    }
  }

  #isOurs(given: string | string[] | undefined): boolean {
    const { token } = this.#options;
    if (typeof given !== 'string') return false;
    const [ours, theirs] = [Buffer.from(token), Buffer.from(given)];
    return ours.length === theirs.length && timingSafeEqual(ours, theirs);
  }
}

const END = Buffer.from('}');

function answer(response: ServerResponse, status: number, body: object): void {
  sendText(response, status, JSON_TYPE, JSON.stringify(body));
}
