import { messageOf, ProtocolError, show } from '../../core/errors.js';
import type { Flow } from '../channel/large/LargeReply.js';
import { LongMessage } from '../channel/large/LongMessage.js';
import type { SseEvent } from '../net/body/events/SseReader.js';
import { headerOf } from '../net/body/responseHeaders.js';
import { statusError } from '../net/body/statusError.js';
import type { Endpoint, HttpCredentials } from '../net/Endpoint.js';
import { type StreamEnd, StreamExchange } from '../net/StreamExchange.js';
import { UrlConnection, type UrlConnectionOptions } from '../net/UrlConnection.js';
import { initializeLegacy } from '../protocol/handshake.js';
import type { Params, ServerInfo } from '../protocol/messages.js';
import { SseTransport } from './SseTransport.js';

/** Where to send goes with each message, and is kept as long as the connection. */
const MAX_ENDPOINT_CHARS = 8_192;

const READ_ON: Flow = Object.freeze({ pause: () => false, resume: () => undefined });

export type SseConnectionOptions = UrlConnectionOptions;

/**
 * MCP over legacy HTTP+SSE (2024-11-05): one GET stream brings everything, each message out is a POST to where the
 * stream's first event says, on the same origin only. The stream is the session: when it drops, the connection is dead
 * and its calls fail. Nothing on it tells which call a message belongs to, but ids and progress tokens.
 */
export class SseConnection extends UrlConnection<SseTransport, SseConnectionOptions> {
  #stream: StreamExchange | undefined;
  /** While the stream is being opened. */
  #opening: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  /** @throws StartError with its cause, after everything is gone; OptionError; the signal's reason. */
  static async open(options: SseConnectionOptions): Promise<SseConnection> {
    const connection = new SseConnection(options);
    await connection.start();
    return connection;
  }

  get inDoubt(): Promise<void> | undefined {
    return this.channel.unread.inDoubt;
  }

  protected override makeTransport(endpoint: Endpoint, { clock, logger }: SseConnectionOptions): SseTransport {
    return new SseTransport(endpoint, clock, logger, (why) => this.die(why));
  }

  protected override async handshake(deadlineMs: number): Promise<ServerInfo> {
    await this.#open();
    let accepted = Promise.resolve();
    const info = await initializeLegacy(this.channel, this.handshakeOptions(deadlineMs), (method) => {
      accepted = this.transport.notify(method, this.channel.encodeNotice(method, undefined));
      // Awaited below; it may fail before that.
      accepted.catch(() => undefined);
    });
    await accepted;
    return info;
  }

  protected override post(method: string, text: string, _params: Params | undefined, caller?: object): Promise<void> {
    return this.transport.notify(method, text, caller);
  }

  protected override refuse(): void {
    this.#opening?.reject(new ProtocolError(this.server, 'the connection was closed'));
  }

  /** The end of the stream is the end of the session. */
  protected override leave(): Promise<void> {
    return Promise.resolve();
  }

  protected override stop(): void {
    this.#stream?.end();
  }

  /** Resolves when the stream has said where to send. The start's own bounds end the waiting. */
  async #open(): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#opening = { resolve, reject };
        this.#connect(false);
      });
    } finally {
      this.#opening = undefined;
    }
  }

  #connect(renewed: boolean): void {
    const { endpoint } = this.transport;
    const used = endpoint.credentials;
    this.#stream = new StreamExchange(
      endpoint,
      ['accept', 'text/event-stream', 'accept-encoding', 'identity', ...endpoint.headers],
      {
        onOpen: () => undefined,
        // Nothing can be resumed on this transport.
        onRetry: () => undefined,
        onEvent: (event) => this.#event(event),
        onLong: (parts) => this.#long(parts),
        onLongEvent: ({ event }, data) => {
          const bytes = data.take();
          if (!data.taken && isMessage(event)) this.channel.read(bytes, undefined, data.reply);
        },
        onSkipped: (edges, error) => this.channel.unread.oversized(edges, error),
        onEnd: (end) => this.#ended(end, renewed ? undefined : { used }),
      },
    );
  }

  #event({ event, data }: SseEvent): void {
    if (event === 'endpoint') this.#endpointSaid(data);
    else if (data !== '' && isMessage(event)) this.channel.read(data);
  }

  /** Answers to others stand behind it: what takes it cannot hold it back. */
  #long(parts: readonly Buffer[]): LongMessage | undefined {
    if (!this.channel.everRaw) return undefined;
    return new LongMessage(parts, true, (all, scan) => this.channel.large.begin(all, scan, READ_ON));
  }

  #endpointSaid(data: string): void {
    const opening = this.#opening;
    if (opening === undefined) return;
    if (data.length > MAX_ENDPOINT_CHARS) {
      const said = `its endpoint has ${data.length} characters, ${MAX_ENDPOINT_CHARS} allowed`;
      opening.reject(new ProtocolError(this.server, said));
      return;
    }
    const { endpoint } = this.transport;
    const target = endpoint.resolve(data);
    if (target?.origin !== endpoint.origin) {
      opening.reject(
        new ProtocolError(this.server, `its endpoint is not on its own origin: ${target?.origin ?? show(data)}`),
      );
      return;
    }
    this.transport.postPath = target.pathname + target.search;
    // In this turn: the stream may end in the same one, and that is a death then.
    this.#opening = undefined;
    opening.resolve();
  }

  #ended(
    { status, streamed, body, headers, error }: StreamEnd,
    retry: { used: HttpCredentials | undefined } | undefined,
  ): void {
    if (this.#opening === undefined) {
      this.die(error === undefined ? 'its stream ended' : `its stream broke: ${messageOf(error)}`, error);
      return;
    }
    const { reject } = this.#opening;
    if (status === 401 && retry !== undefined) {
      this.transport.endpoint.renew(retry.used, headerOf(headers, 'www-authenticate')).then((fresh) => {
        if (this.scope.closing) return;
        if (fresh) this.#connect(true);
        else reject(statusError({ server: this.server, method: 'GET', status, headers, body, wallNowMs: 0 }));
      }, reject);
    } else if (status === 0 || streamed) {
      reject(error ?? new ProtocolError(this.server, 'its stream ended without an endpoint event'));
    } else {
      const wallNowMs = this.options.clock.wallNow();
      reject(statusError({ server: this.server, method: 'GET', status, headers, body, wallNowMs }));
    }
  }
}

const isMessage = (event: string | undefined): boolean => event === undefined || event === 'message';
