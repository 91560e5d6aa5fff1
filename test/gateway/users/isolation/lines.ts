import { PassThrough, type Readable, type Writable } from 'node:stream';
import type { Message } from './Ledger.js';
import type { Line } from './Neighbour.js';

/** The ways a client can have its server: each hands over every message that it gets. */

type Heard = (message: Message) => void;
type Fetch = (request: Request) => Promise<Response>;
type Reader = ReadableStreamDefaultReader<Uint8Array>;

interface HttpLineOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly fetch: Fetch;
  readonly era: 'legacy' | 'modern';
}

const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };

/** Streamable HTTP, by whatever takes a request. */
export function httpLine({ url, headers, fetch, era }: HttpLineOptions): (heard: Heard) => Line {
  return (heard) => {
    const open = new Set<Reader>();
    const streams: Promise<void>[] = [];
    let session: Record<string, string> = {};
    const listen = async (): Promise<void> => {
      const own = { ...headers, ...session, accept: 'text/event-stream' };
      await readMessages(await fetch(new Request(url, { headers: own })), heard, open);
    };
    return {
      async send(message) {
        const { method = '', params = {} } = message as Message;
        const name = params['name'];
        const modern = {
          'mcp-protocol-version': '2026-07-28',
          'mcp-method': method,
          ...(typeof name === 'string' && { 'mcp-name': name }),
        };
        const own = { ...JSON_HEADERS, ...headers, ...(era === 'modern' ? modern : session) };
        const body = JSON.stringify({ jsonrpc: '2.0', ...message });
        const stays = method === 'subscriptions/listen';
        const response = await fetch(new Request(url, { method: 'POST', headers: own, body }));
        const id = response.headers.get('mcp-session-id');
        if (method === 'initialize' && id !== null) session = { 'mcp-session-id': id };
        if (method === 'notifications/initialized') streams.push(listen().catch(ended));
        // A refusal of the front's own names no request.
        if (response.status >= 400) throw new Error(`the POST got ${response.status}: ${await response.text()}`);
        if (!stays) await readMessages(response, heard);
        else streams.push(readMessages(response, heard, open).catch(ended));
      },
      async close() {
        for (const reader of open) await reader.cancel();
        await Promise.all(streams);
      },
    };
  };
}

/** HTTP+SSE of 2024-11-05: everything comes on one stream. */
export function sseLine({ url, headers, fetch }: Omit<HttpLineOptions, 'era'>): (heard: Heard) => Promise<Line> {
  return async (heard) => {
    const open = new Set<Reader>();
    const own = { ...headers, accept: 'text/event-stream' };
    const stream = await fetch(new Request(url, { headers: own }));
    let opened: (path: string) => void = () => undefined;
    const endpoint = new Promise<string>((resolve) => {
      opened = resolve;
    });
    const reading = readEvents(
      stream,
      (data, event) => {
        if (event === 'endpoint') opened(data);
        else heard(JSON.parse(data) as Message);
      },
      open,
    ).catch(ended);
    const target = new URL(await endpoint, url);
    return {
      async send(message) {
        const body = JSON.stringify({ jsonrpc: '2.0', ...message });
        const response = await fetch(
          new Request(target, { method: 'POST', headers: { ...JSON_HEADERS, ...headers }, body }),
        );
        const text = await response.text();
        if (!response.ok) throw new Error(`the POST got ${response.status}: ${text}`);
      },
      async close() {
        for (const reader of open) await reader.cancel();
        await reading;
      },
    };
  };
}

/** Stdio: lines, both ways. `serve` stands at the other end, until the first of them has ended. */
export function stdioLine(serve: (input: Readable, output: Writable) => Promise<void>): (heard: Heard) => Line {
  return (heard) => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const over = serve(input, output);
    let text = '';
    output.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) heard(JSON.parse(line) as Message);
    });
    return {
      async send(message) {
        input.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
      },
      async close() {
        input.end();
        await over;
      },
    };
  };
}

/** A stream that this side has cut. */
const ended = (): void => undefined;

async function readMessages(response: Response, heard: Heard, open = new Set<Reader>()): Promise<void> {
  if (response.headers.get('content-type')?.startsWith('text/event-stream') === true) {
    await readEvents(response, (data) => heard(JSON.parse(data) as Message), open);
    return;
  }
  const text = await response.text();
  if (text.startsWith('{')) heard(JSON.parse(text) as Message);
}

/** Its reader is among those that are `open` until the stream has ended: by the server, or by `cancel`. */
async function readEvents(
  { body }: Response,
  heard: (data: string, event: string | undefined) => void,
  open: Set<Reader>,
): Promise<void> {
  const reader = body?.getReader();
  if (reader === undefined) return;
  open.add(reader);
  const decoder = new TextDecoder();
  let text = '';
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    text += decoder.decode(next.value, { stream: true });
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    for (const event of events) {
      const data = /^data: ?(.+)$/m.exec(event)?.[1];
      if (data !== undefined) heard(data, /^event: ?(.+)$/m.exec(event)?.[1]);
    }
  }
  open.delete(reader);
}
