import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Injection } from '../../faults/FaultPlan.js';
import type { Fault } from '../../faults/faultTable.js';
import type { HttpPortOptions } from './HttpPortOptions.js';
import { whileOpen } from './whileOpen.js';

/** The response that a shape has for itself. */
interface Shaped {
  readonly res: ServerResponse;
  readonly options: HttpPortOptions;
  begin(): void;
}

type Shape = (port: Shaped, text: string, injection: Injection) => void;

const DRIP_BYTES = 16;
const DRIP_MS = 5;
const RESUME_MS = 2_000;
let nextEvent = 1;

const event = (text: string): string => `event: message\ndata: ${text}\n\n`;

/** Ends the connection as soon as what was written is with the system. */
function cut(res: ServerResponse): void {
  setImmediate(() => setImmediate(() => res.destroy()));
}

/** A call that has said something already has its headers out: its answer ends the stream, and the fault comes too late. */
function begun(res: ServerResponse, text: string): boolean {
  if (res.headersSent) res.end(event(text));
  return res.headersSent;
}

/** How an answer goes out when the fault is in the response, not in the message. The server has acted. */
export const shapes: Readonly<Partial<Record<Fault, Shape>>> = Object.freeze({
  contentType: ({ res, options }: Shaped, text: string, { settings: { contentType = 'text/html' } }: Injection) => {
    if (begun(res, text)) return;
    const type = contentType === '' ? {} : { 'content-type': contentType };
    res.writeHead(200, { ...options.headers, ...type }).end(text);
  },
  compressed: ({ res, options }: Shaped, text: string) => {
    if (begun(res, text)) return;
    const headers = { ...options.headers, 'content-type': 'application/json', 'content-encoding': 'gzip' };
    res.writeHead(200, headers).end(gzipSync(text));
  },
  brokenChunk: ({ res, options }: Shaped, text: string) => {
    if (!res.headersSent) {
      res.writeHead(200, { ...options.headers, 'content-type': 'application/json', 'transfer-encoding': 'chunked' });
      res.flushHeaders();
    }
    // A chunk that announces more than comes.
    res.socket?.write(`${(text.length + 100).toString(16)}\r\n${text.slice(0, text.length >> 1)}`);
    cut(res);
  },
  cutStream: (port: Shaped, text: string, { settings: { at = 'inside' } }: Injection) => {
    port.begin();
    const whole = event(text);
    if (at === 'before') port.res.end();
    else if (at === 'inside') port.res.end(whole.slice(0, whole.length >> 1));
    else {
      port.res.write(whole);
      cut(port.res);
    }
  },
  noBlankLine: (port: Shaped, text: string) => {
    port.begin();
    port.res.end(`event: message\ndata: ${text}\n`);
  },
  slowDrip: (port: Shaped, text: string, { delayMs = DRIP_MS }: Injection) => {
    port.begin();
    const bytes = Buffer.from(event(text));
    const drip = (from: number): void => {
      if (port.res.destroyed) return;
      if (from >= bytes.length) port.res.end();
      else {
        port.res.write(bytes.subarray(from, from + DRIP_BYTES));
        whileOpen(port.res.socket, delayMs, () => drip(from + DRIP_BYTES));
      }
    };
    drip(0);
  },
  retry: (port: Shaped, text: string, { settings: { retryAfterMs = RESUME_MS } }: Injection) => {
    const id = `fault-${nextEvent++}`;
    port.options.keep(id, text);
    port.begin();
    port.res.end(`id: ${id}\nretry: ${retryAfterMs}\ndata: \n\n`);
  },
});
