import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../../../core/clock.js';
import { callerOf } from '../../wire/http/callerOf.js';
import { httpSpecial, type PostPort } from '../../wire/http/httpFaults.js';
import { MessageWire } from '../../wire/MessageWire.js';
import { isAnswer, parseMessage, type RpcId, type RpcMessage } from '../../wire/messages.js';
import { resetSocket } from '../../wire/tcp/resetSocket.js';
import type { ClientPort, WireCall } from '../../wire/WireCall.js';
import { EffectTally } from '../EffectTally.js';
import { EventSplitter, type StreamEvent } from './EventSplitter.js';
import { hasRoom } from './hasRoom.js';
import type { Posted, ProxyHost } from './ProxyHost.js';
import { failed, passOn, sharedHeaders } from './Upstream.js';

/** One client of HTTP+SSE behind a fault proxy: its stream, and the POSTs whose answers come on it. */
export class SseProxySession {
  readonly #host: ProxyHost;
  readonly #res: ServerResponse;
  readonly #wire: MessageWire;
  readonly #tally: EffectTally;
  readonly #stream: ClientPort;
  readonly #posts = new WeakMap<RpcMessage, Posted & { readonly res: ServerResponse }>();
  /** The event that is being passed on, as it came. */
  #current: { readonly text: string; readonly raw: string } | undefined;
  #caller: string | undefined;
  /** What the client sends now; undefined once it has gone on: then the server itself answers the POST. */
  #sending: RpcMessage | undefined;

  constructor(host: ProxyHost, res: ServerResponse) {
    this.#host = host;
    this.#res = res;
    this.#tally = new EffectTally(host.name, host.tell);
    this.#stream = {
      frame: (text) =>
        Buffer.from(text === this.#current?.text ? this.#current.raw : `event: message\ndata: ${text}\n\n`),
      write: (bytes) => {
        if (!res.destroyed) res.write(bytes);
      },
      die: (end) => {
        if (end.streamOnly === true) setImmediate(() => res.destroy());
        else host.die(end);
      },
    };
    this.#wire = new MessageWire({
      server: host.name,
      plan: host.plan,
      clock: systemClock,
      wire: 'sse',
      caller: () => this.#caller,
      memory: host.memory,
      toServer: (message, call) => this.#toServer(message, call),
      special: (call, proceed) => httpSpecial(call, proceed, host.hand),
      onFault: host.tell,
    });
  }

  /** Reads the server's stream to its end; `onEndpoint` says where the client is to POST, and gives the path that does. */
  async run(got: IncomingMessage, onEndpoint: (endpoint: string) => string): Promise<void> {
    this.#res.writeHead(200, { ...sharedHeaders(got), 'content-type': 'text/event-stream' }).flushHeaders();
    const splitter = new EventSplitter(undefined, this.#host.held);
    const take = ({ raw, event, data, unread }: StreamEvent): void => {
      if (this.#wire.stalled) return;
      if (unread) this.#host.unread('server', raw.length);
      if (event === 'endpoint') this.#res.write(`event: endpoint\ndata: ${onEndpoint(data ?? '')}\n\n`);
      else if (data === undefined || data === '') this.#res.write(raw);
      else this.#heard(data, raw);
    };
    try {
      for await (const chunk of got) {
        for (const event of splitter.push(chunk as Buffer)) take(event);
        await hasRoom(this.#res);
      }
    } finally {
      splitter.stop();
    }
    if (!this.#wire.stalled) this.#res.end();
  }

  /** A message by POST. */
  posted(message: RpcMessage, posted: Posted, res: ServerResponse): void {
    this.#caller = callerOf(posted.req);
    let taken = false;
    const port: PostPort = {
      ...this.#stream,
      req: posted.req,
      take: () => {
        taken = true;
        return res;
      },
      reset: () => void resetSocket(res.socket),
    };
    this.#posts.set(message, { ...posted, res });
    this.#sending = message;
    this.#wire.fromClient(message, port);
    // What does not go on at once is accepted here.
    if (this.#sending === message && !taken) res.writeHead(202).end('Accepted');
    this.#sending = undefined;
  }

  close(): void {
    this.#wire.close();
    if (!this.#res.destroyed) this.#res.end();
  }

  #toServer(message: RpcMessage, call: WireCall | undefined): void {
    if (message.method === 'notifications/cancelled') this.#tally.cancelled(message.params?.['requestId'] as RpcId);
    if (call !== undefined) this.#tally.asked(call.request, undefined);
    const posted = this.#posts.get(message);
    if (posted === undefined) return;
    const atOnce = this.#sending === message;
    if (atOnce) this.#sending = undefined;
    this.#forward(posted, posted.res, atOnce && call?.injection?.fault !== 'resetBeforeHeaders');
  }

  #forward({ req, body }: Posted, res: ServerResponse, answers: boolean): void {
    this.#host.upstream.send(req, body, {
      plain: false,
      onResponse: (got) => {
        if (answers) passOn(got, res);
        else got.resume();
      },
      onFail: (error) => {
        if (answers) failed(error, res);
      },
    });
  }

  #heard(text: string, raw: string): void {
    const message = parseMessage(text) ?? {};
    if (isAnswer(message)) this.#tally.answered(message.id);
    this.#current = { text, raw };
    this.#wire.fromServer(message, text, this.#stream);
    this.#current = undefined;
  }
}
