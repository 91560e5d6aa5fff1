import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Injection } from '../../faults/FaultPlan.js';
import { parseMessage } from '../messages.js';
import { resetSocket } from '../tcp/resetSocket.js';
import type { ClientPort, WireEnd } from '../WireCall.js';
import type { HttpPortOptions } from './HttpPortOptions.js';
import { shapes } from './httpShapes.js';

/** The answer to one POST over Streamable HTTP: a JSON body where that is all, else an event stream. */
export class HttpPort implements ClientPort {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly options: HttpPortOptions;
  /** A fault of how the response is shaped. */
  shape: Injection | undefined;
  #answer: { readonly text: string; readonly frame: Buffer } | undefined;
  #held = false;
  #over = false;

  constructor(req: IncomingMessage, res: ServerResponse, options: HttpPortOptions) {
    this.req = req;
    this.res = res;
    this.options = options;
  }

  frame(text: string, isAnswer = parseMessage(text)?.id === this.options.id): Buffer {
    const frame = Buffer.from(`event: message\ndata: ${text}\n\n`);
    if (isAnswer) this.#answer = { text, frame };
    return frame;
  }

  write(bytes: Buffer): void {
    if (this.#over || this.res.destroyed) return;
    const isAnswer = bytes === this.#answer?.frame;
    if (isAnswer && this.shape !== undefined) {
      const { shape } = this;
      this.#over = true;
      shapes[shape.fault]?.(this, this.#answer?.text ?? '', shape);
    } else if (isAnswer && !this.#held && !this.res.headersSent && this.options.answers === 'json') {
      this.#held = true;
      // If it is not the end of the call, it is an event of a stream.
      setImmediate(() => {
        if (this.#held && !this.#over) this.#flush();
      });
    } else {
      this.#flush();
      this.res.write(bytes);
    }
  }

  #flush(): void {
    this.begin();
    if (this.#held && this.#answer !== undefined) this.res.write(this.#answer.frame);
    this.#held = false;
  }

  done(): void {
    if (this.#over || this.res.destroyed) return;
    this.#over = true;
    const { headers } = this.options;
    if (this.#held) {
      this.res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(this.#answer?.text);
    } else this.res.end();
  }

  die(end: WireEnd): void {
    this.#over = true;
    // What was written goes out before: a reset would take it along.
    if (end.streamOnly === true) setImmediate(() => this.res.destroy());
    else this.options.die(end);
  }

  /** The response is a fault's, or has been given. */
  get over(): boolean {
    return this.#over;
  }

  /** Begins the event stream. */
  begin(): void {
    if (this.res.headersSent) return;
    this.res.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      ...this.options.headers,
    });
    this.res.flushHeaders();
  }

  /** Nothing more is written by the wire: a fault has the response for itself. */
  take(): ServerResponse {
    this.#over = true;
    return this.res;
  }

  /** The connection is reset. */
  reset(): void {
    this.#over = true;
    resetSocket(this.res.socket);
  }
}
