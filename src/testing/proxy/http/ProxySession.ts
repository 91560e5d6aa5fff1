import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../../../core/clock.js';
import { callerOf } from '../../wire/http/callerOf.js';
import { HttpPort } from '../../wire/http/HttpPort.js';
import { httpSpecial } from '../../wire/http/httpFaults.js';
import { readBody } from '../../wire/http/readBody.js';
import { MessageWire } from '../../wire/MessageWire.js';
import { isAnswer, isCostly, parseMessage, type RpcId, type RpcMessage, type RpcRequest } from '../../wire/messages.js';
import type { ClientPort, WireCall } from '../../wire/WireCall.js';
import { EffectTally } from '../EffectTally.js';
import { EventSplitter, type StreamEvent } from './EventSplitter.js';
import { hasRoom } from './hasRoom.js';
import type { Posted, ProxyHost } from './ProxyHost.js';
import { failed, passOn, sharedHeaders } from './Upstream.js';

/** One call over Streamable HTTP. */
interface Flight extends Posted {
  readonly port: HttpPort;
  readonly res: ServerResponse;
  /** How the server answers: known when its headers come. */
  shape: { answers: 'json' | 'events'; headers: Readonly<Record<string, string>> };
  sent: ClientRequest | undefined;
  /** Something that the server said, which may be the answer, passed unread. */
  unread: boolean;
}

/** One session of Streamable HTTP behind a fault proxy; a POST without a session is one by itself. */
export class ProxySession {
  readonly id: string | undefined;
  readonly #host: ProxyHost;
  readonly #wire: MessageWire;
  readonly #tally: EffectTally;
  readonly #flights = new Map<RpcId, Flight>();
  /** Where messages of no call go: such come on the GET stream, which is passed on as it is. */
  readonly #nowhere: ClientPort;
  readonly #onEnd: () => void;
  #caller: string | undefined;
  /** A message without an answer that the wire has let through. */
  #through = false;

  constructor(host: ProxyHost, id: string | undefined, onEnd: () => void = () => undefined) {
    this.#host = host;
    this.#onEnd = onEnd;
    this.id = id;
    this.#tally = new EffectTally(host.name, host.tell);
    this.#nowhere = { frame: (text) => Buffer.from(text), write: () => undefined, die: host.die };
    this.#wire = new MessageWire({
      server: host.name,
      plan: host.plan,
      clock: systemClock,
      wire: 'http',
      caller: () => this.#caller,
      memory: host.memory,
      ...(id === undefined && { spent: host.spent }),
      toServer: (message, call) => this.#toServer(message, call),
      special: (call, proceed) => httpSpecial(call, proceed, host.hand),
      onFault: host.tell,
    });
  }

  /** Nothing goes either way any more. */
  get stalled(): boolean {
    return this.#wire.stalled;
  }

  /** A request by a POST of its own. */
  request(message: RpcRequest, { req, body }: Posted, res: ServerResponse): void {
    this.#caller = callerOf(req);
    const shape: Flight['shape'] = { answers: 'json', headers: {} };
    const { die, keep } = this.#host;
    const port = new HttpPort(req, res, {
      id: message.id,
      get answers() {
        return flight.shape.answers;
      },
      get headers() {
        return flight.shape.headers;
      },
      die,
      keep,
    });
    const flight: Flight = { req, body, res, port, shape, sent: undefined, unread: false };
    this.#flights.set(message.id, flight);
    res.once('close', () => this.#left(message.id, flight));
    this.#wire.fromClient(message, port);
  }

  /** A message that has no answer. */
  receive(message: RpcMessage, { req, body }: Posted, res: ServerResponse): void {
    this.#through = false;
    this.#wire.fromClient(message, this.#nowhere);
    if (!this.#through) {
      res.writeHead(202).end();
      if (this.id === undefined) this.close();
      return;
    }
    this.#host.upstream.send(req, body, {
      plain: false,
      onResponse: (got) => passOn(got, res),
      onFail: (error) => failed(error, res),
    });
    if (this.id === undefined) res.once('close', () => this.close());
  }

  close(): void {
    this.#wire.close();
    this.#onEnd();
  }

  #toServer(message: RpcMessage, call: WireCall | undefined): void {
    if (message.method === 'notifications/cancelled') this.#tally.cancelled(message.params?.['requestId'] as RpcId);
    this.#through = true;
    const flight = call === undefined ? undefined : this.#flights.get(call.request.id);
    if (call === undefined || flight === undefined) return;
    const { id } = call.request;
    const faulted = call.injection !== undefined;
    this.#tally.asked(call.request, this.id);
    flight.sent = this.#host.upstream.send(flight.req, flight.body, {
      plain: faulted,
      onResponse: (got) => {
        if (faulted) void this.#read(id, flight, got).catch(() => flight.res.destroy());
        else this.#pass(id, flight, got);
      },
      onFail: (error) => {
        this.#wire.abandoned(id);
        if (!flight.port.over) failed(error, flight.res);
      },
    });
  }

  /** What no fault is about goes on as it came. */
  #pass(id: RpcId, { res }: Flight, got: IncomingMessage): void {
    const done = (): void => {
      this.#tally.answered(id);
      this.#wire.passed(id);
    };
    passOn(got, res, { open: () => !this.#wire.stalled, done });
  }

  /** A faulted answer, message by message. */
  async #read(id: RpcId, flight: Flight, got: IncomingMessage): Promise<void> {
    const type = got.headers['content-type'] ?? '';
    const events = type.startsWith('text/event-stream');
    if ((got.statusCode !== 200 && !events) || !(events || type.startsWith('application/json'))) {
      this.#wire.abandoned(id);
      if (flight.port.over) got.resume();
      else passOn(got, flight.res);
      return;
    }
    flight.shape = { answers: events ? 'events' : 'json', headers: sharedHeaders(got) };
    if (events) await this.#readEvents(flight, got);
    else {
      const answer = await readBody(got, undefined, this.#host.held);
      if (isCostly(answer)) this.#pastFaults(flight.port.frame(answer.toString('utf8'), true), flight);
      else this.#heard(answer.toString('utf8'), flight);
    }
    const open = this.#wire.call(id);
    if (open === undefined || this.#wire.stalled) return;
    if (flight.unread) {
      this.#tally.answered(id);
      this.#wire.passed(id);
      flight.port.done();
    } else if (!ANSWER_IS_KEPT.has(open.injection?.fault ?? '')) {
      // The server has ended its stream without an answer.
      flight.port.die({ why: 'the server ended its stream', streamOnly: true });
    }
  }

  async #readEvents(flight: Flight, got: IncomingMessage): Promise<void> {
    const splitter = new EventSplitter(undefined, this.#host.held);
    const take = ({ raw, data, unread }: StreamEvent): void => {
      if (unread) this.#pastFaults(Buffer.from(raw), flight);
      else if (data === undefined || data === '') flight.port.write(Buffer.from(raw));
      else this.#heard(data, flight);
    };
    try {
      for await (const chunk of got) {
        for (const event of splitter.push(chunk as Buffer)) take(event);
        await hasRoom(flight.res);
      }
      const last = splitter.end();
      if (last !== undefined) take(last);
    } finally {
      splitter.stop();
    }
  }

  #pastFaults(bytes: Buffer, flight: Flight): void {
    this.#host.unread('server', bytes.length);
    flight.unread = true;
    flight.port.shape = undefined;
    if (!this.#wire.stalled) flight.port.write(bytes);
  }

  #heard(text: string, { port }: Flight): void {
    const message = parseMessage(text) ?? {};
    if (isAnswer(message)) this.#tally.answered(message.id);
    this.#wire.fromServer(message, text, port);
  }

  /** The response is over: given, taken by a fault, or no longer wanted. */
  #left(id: RpcId, flight: Flight): void {
    if (this.#flights.get(id) === flight) this.#flights.delete(id);
    const { res, port, sent } = flight;
    const wanted = port.over || res.writableFinished || this.#wire.call(id)?.injection?.fault === 'ignoreCancel';
    if (!wanted) {
      // Without a session the end of its stream cancels a call.
      if (this.id === undefined) this.#wire.fromClient({ method: CANCELLED, params: { requestId: id } }, this.#nowhere);
      else this.#wire.abandoned(id);
      sent?.destroy();
    }
    if (this.id === undefined) this.#end(sent);
  }

  /** A POST by itself is over once the server has done with it. */
  #end(sent: ClientRequest | undefined): void {
    if (sent === undefined || sent.closed) this.close();
    else sent.once('close', () => this.close());
  }
}

const CANCELLED = 'notifications/cancelled';
/** Faults whose call is still open once the server has answered it. */
const ANSWER_IS_KEPT: ReadonlySet<string> = new Set([
  'dropAnswer',
  'hang',
  'wrongId',
  'unknownId',
  'corrupt',
  'silentUnknown',
  'answerAfterCancel',
  'endlessRequests',
]);
