import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { eventIdHeader } from '../../connection/http/eventIdHeader.js';
import type { Clock } from '../../core/clock.js';
import { messageOf, NotSentError, PoolkitError } from '../../core/errors.js';
import { sleep } from '../../core/time/sleep.js';
import { withDeadline, within } from '../../core/time/within.js';
import { SingleFlight } from '../../core/wait/SingleFlight.js';
import type { RequestMessage } from '../rpc/envelope.js';
import { parseAnswer } from '../rpc/parseAnswer.js';
import { type Kept, KeptSettings } from './calls/KeptSettings.js';
import { type HttpLink, OWN_MS } from './HttpLink.js';
import { ACCEPT, isHeaderText } from './modernHeaders.js';
import { answerOf, isEventStream, readResponse, refusalText } from './readResponse.js';

export interface HttpSessionOptions {
  readonly link: HttpLink;
  readonly clock: Clock;
  /** Ends what is waited for. */
  readonly signal: AbortSignal;
  /** A message that belongs to no call. */
  readonly onMessage: (text: string) => unknown;
}

interface Opened {
  readonly id: string;
  readonly version: string;
}

/** A stream that ended is opened again after this long, and then after twice as long, up to the second. */
const REOPEN_MS = 500;
const MAX_REOPEN_MS = 10_000;
/** A call waits for so long, in ms, for what is set anew before it. */
const KEPT_MS = 2_000;
/** Sessions that are opened for one message, one after another, while gateways come and go. */
export const MAX_REOPENED = 3;

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
  readonly #kept: KeptSettings;
  /** A session was opened anew since its first stream was 404, and no stream was open since. */
  #streamless = false;

  /** Ends the stream of the session there is: the gateway may keep that of one that it has forgotten open for ever. */
  #stream: AbortController | undefined;

  constructor(options: HttpSessionOptions) {
    this.#options = options;
    const { signal, clock } = options;
    this.#kept = new KeptSettings(clock);
    signal.addEventListener('abort', () => this.#stream?.abort(signal.reason), { once: true });
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

  /** The answer to a request of the client came: to its `initialize` it says what is to be said from now on. */
  answered(message: RequestMessage, response: IncomingMessage, answer: string): void {
    if (message.method !== 'initialize') this.#kept.answered(message, answer);
    else if ((response.statusCode ?? 0) < 300) {
      this.#initialize = message;
      this.#kept.clear();
      this.#open(response, answer);
    }
  }

  /** Opens another session in place of `lost`, unless that was done. @throws NotSentError when the gateway does not let it */
  async reopen(lost: string | undefined): Promise<void> {
    if (this.#initialize === undefined || this.#opened?.id !== lost) return;
    await this.#opening
      .run('session', () => this.#reopen())
      .catch((error: unknown) => {
        throw error instanceof PoolkitError ? error : new NotSentError('gateway', messageOf(error), error);
      });
  }

  /** Tells the gateway that it is over. */
  async end(): Promise<void> {
    if (this.#opened === undefined) return;
    const { link, clock } = this.#options;
    const request = { method: 'DELETE', headers: this.headers, signal: AbortSignal.timeout(END_MS) } as const;
    await link.request(request).then((response) => void link.drain(response, clock), ignored);
  }

  #reopen(): Promise<Opened> {
    const { clock, signal } = this.#options;
    const late = (): Error => new Error(`initialize was not answered within ${OWN_MS} ms`);
    return withDeadline({ clock, signal, timeoutMs: OWN_MS, late }, (signal) => this.#initializeAgain(signal));
  }

  async #initializeAgain(signal: AbortSignal): Promise<Opened> {
    const { link, clock, onMessage } = this.#options;
    const { incoming } = link;
    const params = this.#initialize?.paramsText ?? JSON.stringify(this.#initialize?.params ?? {});
    const id = JSON.stringify(`again-${++this.#again}`);
    const body = `{"jsonrpc":"2.0","id":${id},"method":"initialize","params":${params}}`;
    const response = await link.request({ method: 'POST', headers: ACCEPT, body, signal });
    if (response.headers['mcp-session-id'] === undefined) {
      throw new Error(`no session: ${(await refusalText(response, incoming, clock)).slice(0, 200)}`);
    }
    const answer = await answerOf(response, id, incoming, signal);
    const opened = this.#open(response, answer);
    const initialized = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
    void link.drain(await link.request({ method: 'POST', headers: this.headers, body: initialized, signal }), clock);
    const over = this.#stream?.signal ?? signal;
    const asked = this.#kept.askAgain((kept) => this.#askAgain(kept, over), over);
    await within(asked, { clock, signal, timeoutMs: KEPT_MS }).catch(ignored);
    // What the client knows may be of before.
    for (const kind of changing(answer)) onMessage(`{"jsonrpc":"2.0","method":"notifications/${kind}/list_changed"}`);
    return opened;
  }

  /** Resolves to the answer of this session. */
  #askAgain({ method, said }: Kept, signal: AbortSignal): Promise<string> {
    const { link, clock } = this.#options;
    const id = JSON.stringify(`again-${++this.#again}`);
    const body = `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${said}}`;
    return withDeadline({ clock, signal, timeoutMs: OWN_MS }, async (signal) => {
      const response = await link.request({ method: 'POST', headers: this.headers, body, signal });
      return answerOf(response, id, link.incoming, signal);
    });
  }

  #open({ headers }: IncomingMessage, answer: string): Opened {
    const id = headers['mcp-session-id'];
    const opened = { id: typeof id === 'string' ? id : '', version: versionOf(answer) };
    this.#opened = opened;
    this.#stream?.abort(new Error('its session is over'));
    this.#stream = new AbortController();
    if (this.#options.signal.aborted) this.#stream.abort(this.#options.signal.reason);
    if (opened.id !== '') this.#listen(opened, this.#stream.signal).catch(ignored);
    return opened;
  }

  /** Keeps the stream open for what belongs to no call, as long as the session is this one. */
  async #listen(opened: Opened, signal: AbortSignal): Promise<void> {
    const { link, clock, onMessage } = this.#options;
    let last: string | undefined;
    let waitMs = REOPEN_MS;
    let hadStream = false;
    while (!signal.aborted) {
      const id = last === undefined ? undefined : eventIdHeader(last);
      const headers = { ...this.headers, accept: 'text/event-stream', ...(id && { 'last-event-id': id }) };
      try {
        const response = await link.request({ method: 'GET', headers, signal });
        if (response.statusCode !== 200 || !isEventStream(response)) {
          void link.drain(response, clock);
          if (response.statusCode === 405) return;
          if (response.statusCode === 404) {
            // So do gateways answer that forgot the session, and those that have no such stream.
            if (!hadStream && this.#streamless) return;
            this.#streamless = !hadStream;
            await this.reopen(opened.id).catch(() => (this.#streamless = false));
          }
          last = undefined;
        } else {
          waitMs = REOPEN_MS;
          this.#streamless = false;
          hadStream = true;
          await readResponse(response, link.incoming, { onMessage, onEventId: (id) => (last = id) });
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
