import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../../../core/clock.js';
import { callerOf } from '../../wire/http/callerOf.js';
import type { HttpPort } from '../../wire/http/HttpPort.js';
import { type HttpHand, httpSpecial, type PostPort } from '../../wire/http/httpFaults.js';
import { MessageWire } from '../../wire/MessageWire.js';
import { parseMessage, type RpcId, type RpcMessage, type RpcRequest } from '../../wire/messages.js';
import { resetSocket } from '../../wire/tcp/resetSocket.js';
import type { ClientPort, WireEnd } from '../../wire/WireCall.js';
import type { FakeCore } from '../FakeCore.js';
import { FakeSession } from '../FakeSession.js';

let standalone = 0;

/** One client over HTTP: its wire, its session, and the stream for what belongs to no call. */
export class FakeHttpSession {
  readonly id: string | undefined;
  readonly #wire: MessageWire;
  readonly #session: FakeSession;
  readonly #watch: Disposable;
  readonly #die: (end: WireEnd) => void;
  readonly #streams = new Set<ServerResponse>();
  readonly #ports = new Map<RpcId, ClientPort>();
  readonly #ownStream: ClientPort = {
    frame: (text) => Buffer.from(`event: message\ndata: ${text}\n\n`),
    write: (bytes) => {
      // One of them, as the protocol says.
      const [stream] = this.#streams;
      stream?.write(bytes);
    },
    die: (end) => this.#ended(end),
  };
  #caller: string | undefined;

  constructor(
    core: FakeCore,
    wire: 'http' | 'sse',
    id: string | undefined,
    hand: HttpHand,
    die: (end: WireEnd) => void,
  ) {
    this.id = id;
    this.#die = die;
    this.#session = new FakeSession(core, id ?? `post-${++standalone}`, (text, about) => this.#send(text, about));
    this.#watch = core.onChange((method) => {
      if (id !== undefined) this.#session.notify(method);
    });
    this.#wire = new MessageWire({
      server: core.settings.name,
      plan: core.plan,
      clock: systemClock,
      wire,
      caller: () => this.#caller,
      toServer: (message, call) => this.#session.receive(message, call),
      special: (call, proceed) => httpSpecial(call, proceed, hand),
      onFault: core.tell,
      memory: core.memory,
      ...(id === undefined && { spent: core.spent }),
    });
  }

  /** A stream for what belongs to no call; on SSE, for everything. */
  attach(res: ServerResponse): void {
    this.#streams.add(res);
    res.once('close', () => this.#streams.delete(res));
  }

  /** A message that is no request. */
  receive(message: RpcMessage): void {
    this.#wire.fromClient(message, this.#ownStream);
  }

  /** A request by a POST of its own. */
  request(message: RpcRequest, port: HttpPort): void {
    this.#caller = callerOf(port.req);
    this.#ports.set(message.id, port);
    port.res.once('close', () => {
      if (this.#ports.get(message.id) === port) this.#ports.delete(message.id);
    });
    this.#wire.fromClient(message, port);
  }

  /** SSE: a message by POST, whose answer comes on the stream. */
  posted(req: IncomingMessage, res: ServerResponse, message: RpcMessage): void {
    this.#caller = callerOf(req);
    let taken = false;
    const port: PostPort = {
      ...this.#ownStream,
      req,
      take: () => {
        taken = true;
        return res;
      },
      reset: () => void resetSocket(res.socket),
    };
    // A fault that resets the connection does so in a later turn: the POST must be open then.
    this.#wire.fromClient(message, port);
    if (!taken && this.#wire.call(message.id as RpcId)?.injection?.fault !== 'resetBeforeHeaders') {
      res.writeHead(202).end('Accepted');
    }
  }

  cancel(id: RpcId): void {
    this.#wire.fromClient({ method: 'notifications/cancelled', params: { requestId: id } }, this.#ownStream);
  }

  close(): void {
    this.#watch[Symbol.dispose]();
    this.#session.close();
    this.#wire.close();
    for (const stream of this.#streams) stream.end();
  }

  #send(text: string, about: RpcId | undefined): void {
    const port = (about !== undefined && this.#ports.get(about)) || this.#ownStream;
    this.#wire.fromServer(parseMessage(text) ?? {}, text, port);
  }

  #ended(end: WireEnd): void {
    if (end.streamOnly !== true) this.#die(end);
    else for (const stream of this.#streams) setImmediate(() => stream.destroy());
  }
}
