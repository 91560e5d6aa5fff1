import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../../../core/clock.js';
import type { Injection } from '../../faults/FaultPlan.js';
import { compute } from '../stdio/LineWire.js';
import type { ClientPort, WireCall } from '../WireCall.js';
import { HttpPort } from './HttpPort.js';
import { shapes } from './httpShapes.js';
import { retryAfterOf } from './statusReply.js';
import { whileOpen } from './whileOpen.js';

/** What faults may do to the server that a request came to. */
export interface HttpHand {
  /** New connections are refused for so long; those that are open are reset. */
  refuse(ms: number): void;
  /** The session is forgotten. */
  forget(req: IncomingMessage): void;
  /** The credentials of that request are no longer taken. */
  expire(req: IncomingMessage): void;
}

/** A port whose call came by a POST that can be refused. */
export interface PostPort extends ClientPort {
  readonly req: IncomingMessage;
  /** The response to the POST. */
  take(): ServerResponse;
  reset(): void;
}

const REFUSE_MS = 500;
const STALL_MS = 200;
/** A reset right behind the headers would take them along. */
const RESET_MS = 20;

/** Does what a fault of HTTP does to a call; true: it goes on from there. */
export function httpSpecial(call: WireCall, proceed: () => void, hand: HttpHand): boolean {
  const { injection } = call;
  if (injection === undefined) return false;
  const port = call.port as PostPort;
  if (shapes[injection.fault] !== undefined && port instanceof HttpPort) {
    port.shape = injection;
    proceed();
    return true;
  }
  return refused(port, injection, hand) || acted(port, injection, proceed, hand);
}

/** Faults that refuse the request: the server does not act. */
function refused(port: PostPort, { fault, settings, delayMs }: Injection, hand: HttpHand): boolean {
  switch (fault) {
    case 'refused':
      hand.refuse(delayMs ?? REFUSE_MS);
      return true;
    case 'status': {
      const { status = 500, message = 'the fault plan refused it' } = settings;
      const after = retryAfterOf(settings, systemClock.wallNow());
      const headers = { 'content-type': 'text/plain', ...(after !== undefined && { 'retry-after': after }) };
      port.take().writeHead(status, headers).end(message);
      return true;
    }
    case 'redirect': {
      const { status = 307, location = 'http://127.0.0.1:1/' } = settings;
      port.take().writeHead(status, { location }).end();
      return true;
    }
    case 'tokenExpired':
      hand.expire(port.req);
      port.take().writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end();
      return true;
    case 'sessionLost':
      if (settings.at === 'inside') return false;
      hand.forget(port.req);
      port.take().writeHead(404, { 'content-type': 'text/plain' }).end('no such session');
      return true;
    default:
      return false;
  }
}

/** Faults in which the server acts, and its answer is lost. */
function acted(port: PostPort, { fault, delayMs }: Injection, proceed: () => void, hand: HttpHand): boolean {
  switch (fault) {
    case 'resetBeforeHeaders':
      port.take();
      proceed();
      setImmediate(() => port.reset());
      return true;
    case 'resetAfterHeaders':
    case 'sessionLost':
      proceed();
      if (port instanceof HttpPort) port.begin();
      port.take();
      if (fault === 'sessionLost') hand.forget(port.req);
      whileOpen(port.req.socket, RESET_MS, () => port.reset());
      return true;
    case 'endlessHeaders': {
      proceed();
      endless(port.take());
      return true;
    }
    case 'stallEventLoop':
      compute(delayMs ?? STALL_MS);
      proceed();
      return true;
    default:
      return false;
  }
}

function endless(res: ServerResponse): void {
  const { socket } = res;
  if (socket === null) return;
  socket.on('error', () => undefined);
  socket.write('HTTP/1.1 200 OK\r\n');
  const more = (): void => {
    if (socket.destroyed) return;
    socket.write(`x-pad: ${'x'.repeat(4_000)}\r\n`);
    whileOpen(socket, 1, more);
  };
  more();
}
