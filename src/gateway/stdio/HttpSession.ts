import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Clock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { sleep } from '../../core/time/sleep.js';
import { SingleFlight } from '../../core/wait/SingleFlight.js';
import type { RequestMessage } from '../rpc/envelope.js';
import { parseAnswer } from '../rpc/parseAnswer.js';
import type { HttpLink } from './HttpLink.js';
import { ACCEPT, isHeaderText } from './modernHeaders.js';
import { isEventStream, readResponse, textOf } from './readResponse.js';

export interface HttpSessionOptions {
  readonly link: HttpLink;
  readonly clock: Clock;
  /** Ends what is waited for. */
  readonly signal: AbortSignal;
  /** A message that belongs to no call. */
  readonly onMessage: (text: string) => void;
}

interface Opened {
  readonly id: string;
  readonly version: string;
}

/** A stream that ended is opened again after this long, and then after twice as long, up to the second. */
const REOPEN_MS = 500;
const MAX_REOPEN_MS = 10_000;

/**
 * The session of a client of the legacy era with the gateway. The client initialises once; when the gateway forgets the session,
 * or is another one since, the same words open a new one.
 */
export class HttpSession {
  readonly #options: HttpSessionOptions;
  readonly #opening = new SingleFlight();
  #initialize: RequestMessage | undefined;
  #opened: Opened | undefined;
  #again = 0;

  constructor(options: HttpSessionOptions) {
    this.#options = options;
  }

  get id(): string | undefined {
    return this.#opened?.id;
  }

  /** Of every message within the session. */
  get headers(): OutgoingHttpHeaders {
    const { id, version } = this.#opened ?? {};
    return {
      ...ACCEPT,
      ...(id !== undefined && { 'mcp-session-id': id }),
      ...(version && { 'mcp-protocol-version': version }),
    };
  }

  /** The answer to the client's `initialize` came: what is to be said from now on. */
  begin(initialize: RequestMessage, response: IncomingMessage, answer: string): void {
    this.#initialize = initialize;
    this.#open(response, answer);
  }

  /** Opens another session in place of `lost`, unless that was done. Rejects when the gateway does not let it. */
  async reopen(lost: string | undefined): Promise<void> {
    if (this.#initialize === undefined || this.#opened?.id !== lost) return;
    await this.#opening.run('session', () => this.#reopen());
  }

  /** Tells the gateway that it is over. */
  async end(): Promise<void> {
    if (this.#opened === undefined) return;
    const { link } = this.#options;
    const request = { method: 'DELETE', headers: this.headers, signal: AbortSignal.timeout(END_MS) } as const;
    await link.request(request).then((response) => void response.resume(), ignored);
  }

  async #reopen(): Promise<Opened> {
    const { link, signal, onMessage } = this.#options;
    const params = this.#initialize?.paramsText ?? JSON.stringify(this.#initialize?.params ?? {});
    const body = `{"jsonrpc":"2.0","id":"again-${++this.#again}","method":"initialize","params":${params}}`;
    const response = await link.request({ method: 'POST', headers: ACCEPT, body, signal });
    const answer = await answerOf(response);
    if (response.headers['mcp-session-id'] === undefined) throw new Error(`no session: ${answer.slice(0, 200)}`);
    const opened = this.#open(response, answer);
    const initialized = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
    (await link.request({ method: 'POST', headers: this.headers, body: initialized, signal })).resume();
    // What the client knows may be of before.
    for (const kind of changing(answer)) onMessage(`{"jsonrpc":"2.0","method":"notifications/${kind}/list_changed"}`);
    return opened;
  }

  #open({ headers }: IncomingMessage, answer: string): Opened {
    const id = headers['mcp-session-id'];
    const opened = { id: typeof id === 'string' ? id : '', version: versionOf(answer) };
    this.#opened = opened;
    if (opened.id !== '') this.#listen(opened).catch(ignored);
    return opened;
  }

  /** Keeps the stream open for what belongs to no call, as long as the session is this one. */
  async #listen(opened: Opened): Promise<void> {
    const { link, clock, signal, onMessage } = this.#options;
    let last: string | undefined;
    let waitMs = REOPEN_MS;
    while (!signal.aborted && this.#opened === opened) {
      const headers = { ...this.headers, accept: 'text/event-stream', ...(last && { 'last-event-id': last }) };
      try {
        const response = await link.request({ method: 'GET', headers, signal });
        if (response.statusCode !== 200 || !isEventStream(response)) {
          response.resume();
          if (response.statusCode === 404) return await this.reopen(opened.id);
          if (response.statusCode === 405) return;
          last = undefined;
        } else {
          waitMs = REOPEN_MS;
          await readResponse(response, { onMessage, onEventId: (id) => (last = id) });
        }
      } catch {
        // The gateway is away: the next call says so, or it comes back.
      }
      await sleep(clock, waitMs, { signal, ref: false });
      waitMs = Math.min(2 * waitMs, MAX_REOPEN_MS);
    }
  }
}

const END_MS = 500;

/** Nothing is left to be told. */
const ignored = (): void => undefined;

async function answerOf(response: IncomingMessage): Promise<string> {
  if (!isEventStream(response)) return textOf(response);
  let last = '';
  await readResponse(response, { onMessage: (text) => (last = text) });
  return last;
}

function resultOf(answer: string): Readonly<Record<string, unknown>> {
  try {
    const { result } = parseAnswer(answer) as { readonly result?: Readonly<Record<string, unknown>> };
    return result ?? {};
  } catch (error) {
    throw new Error(`the answer to initialize is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

/** Empty for one that no header can name. */
function versionOf(answer: string): string {
  const version = resultOf(answer)['protocolVersion'];
  return typeof version === 'string' && isHeaderText(version) ? version : '';
}

function changing(answer: string): string[] {
  const capabilities = resultOf(answer)['capabilities'] as
    | Record<string, { readonly listChanged?: boolean }>
    | undefined;
  return ['tools', 'prompts', 'resources'].filter((kind) => capabilities?.[kind]?.listChanged === true);
}
