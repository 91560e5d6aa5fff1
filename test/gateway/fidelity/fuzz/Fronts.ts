import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Gateway } from '../../../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../../../src/pool/UnifiedPool.js';
import { type Input, type Observed, SESSION } from './Input.js';
import { headBytes } from './making/makeInput.js';
import { RawResponseReader } from './RawResponseReader.js';

const DEADLINE_MS = 20_000;
/** A raw input that is not complete is ended so long after its last byte, in ms. */
const PATIENCE_MS = 60;
const PATH = /^\/(mcp|servers\/(one|two)\/mcp)/;

/** A gateway before real servers, at all its doors, and what is sent to them. */
export class Fronts {
  /** What the gateway logged as an error: a fault of its own. */
  readonly faults: string[] = [];
  /** What the servers said: why one has ended. */
  readonly said: string[] = [];
  readonly pool = new UnifiedPool({ ledger: false });
  readonly gateway: Gateway;
  readonly #server: Server;
  readonly #sessions = new Map<string, Promise<string>>();
  readonly #idle: Record<'listen' | 'handler', Socket[]> = { listen: [], handler: [] };
  readonly #ports = { listen: 0, handler: 0 };
  #sse: Promise<string> | undefined;

  constructor() {
    const command = process.execPath;
    const one = { name: 'one', transport: 'stdio', command, args: ['test/fixtures/strict-server.mjs'] } as const;
    const two = { ...one, name: 'two', args: [...one.args, '--modern'] };
    this.pool.addServer(one);
    this.pool.addServer(two);
    this.pool.on('stderr', ({ server, line }) => void this.said.push(`${server}: ${line}`));
    const fault = (fields: unknown, text?: string): void => {
      const error = (fields as { error?: Error }).error;
      this.faults.push(`${text}: ${error?.stack ?? String(fields)}`);
    };
    const quiet = (): void => undefined;
    const logger = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: fault, fatal: fault };
    this.gateway = new Gateway({
      pool: this.pool,
      port: 0,
      sse: true,
      bodyTimeoutMs: 5_000,
      maxSessions: 100,
      sessionIdleMs: 60_000,
      logger: logger as never,
    });
    this.#server = createServer(this.gateway.handler);
  }

  async start(): Promise<void> {
    this.#ports.listen = (await this.gateway.listen()).port;
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#ports.handler = (this.#server.address() as AddressInfo).port;
    await Promise.all(['one', 'two'].map((server) => this.pool.startServer(server)));
  }

  /** Servers that were started again so far: an input has ended one. */
  get restarts(): number {
    return ['one', 'two'].reduce((total, server) => total + this.pool.stats(server).restarts, 0);
  }

  async close(): Promise<void> {
    for (const socket of Object.values(this.#idle).flat()) socket.destroy();
    await this.gateway.close({ graceMs: 0 });
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.pool.close({ graceMs: 0 });
  }

  /** Sends it, and resolves to what came back. Never rejects. */
  async send(input: Input): Promise<Observed> {
    const session = await this.#session(input);
    const headers = input.headers.map(([name, value]) => [name, value.replace(SESSION, session)] as const);
    const given = { ...input, headers };
    if (input.front === 'sse') return this.#sendSse(given);
    if (input.front === 'fetch') return this.#fetch(given);
    if (input.raw === undefined) return this.#exchange(given, [headBytes(given, given.body.length), given.body], true);
    const raw = input.raw.map((piece) => Buffer.from(piece.toString('latin1').replaceAll(SESSION, session), 'latin1'));
    return this.#exchange(given, raw, false);
  }

  /** Ends the session of an input that may have ended it. */
  forget(input: Input): void {
    const { path, version, front } = input;
    const key = `${path} ${version}`;
    const session = this.#sessions.get(key);
    this.#sessions.delete(key);
    void session?.then((id) => this.end(input, id)).catch(() => undefined);
    if (front === 'sse') this.#sse = undefined;
  }

  /** Ends a session that an input opened: there are only so many. */
  async end({ path }: Input, session: string): Promise<void> {
    const headers = { 'mcp-session-id': session };
    const at = new URL(path, 'http://127.0.0.1').pathname;
    await this.gateway.fetch(new Request(`http://127.0.0.1${at}`, { method: 'DELETE', headers }));
  }

  async #session({ path, version, headers }: Input): Promise<string> {
    const at = PATH.exec(path)?.[0];
    if (at === undefined || !headers.some(([, value]) => value === SESSION)) return 'none';
    const key = `${path} ${version}`;
    const known = this.#sessions.get(key);
    if (known !== undefined) return known;
    const opened = this.#initialize(at, version);
    this.#sessions.set(key, opened);
    return opened;
  }

  async #initialize(path: string, version: string): Promise<string> {
    const params = { protocolVersion: version, capabilities: {}, clientInfo: { name: 'fuzz', version: '1' } };
    const response = await fetch(`http://127.0.0.1:${this.#ports.listen}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params }),
    });
    await response.arrayBuffer();
    return response.headers.get('mcp-session-id') ?? 'none';
  }

  async #fetch({ path, method, headers, body }: Input): Promise<Observed> {
    let asked: Request;
    try {
      const url = `http://127.0.0.1${path}`;
      const own = new Headers(headers.map(([name, value]) => [name, value]));
      asked = new Request(url, { method, headers: own, ...(/GET|HEAD/.test(method) ? {} : { body }) });
    } catch {
      // No such request can be made.
      return { status: -1, type: '', body: '', hung: false };
    }
    const response = await within(this.gateway.fetch(asked));
    if (response === undefined) return HUNG;
    const type = response.headers.get('content-type') ?? '';
    const { status } = response;
    if (isStream(type, method, body)) {
      await response.body?.cancel();
      return { status, type, body: '', hung: false };
    }
    const text = await within(response.text());
    const session = response.headers.get('mcp-session-id') ?? undefined;
    return text === undefined ? HUNG : { status, type, body: text, hung: false, session };
  }

  async #sendSse({ body }: Input): Promise<Observed> {
    this.#sse ??= this.#openSse();
    const url = new URL(await this.#sse, `http://127.0.0.1:${this.#ports.listen}`);
    const headers = [['content-type', 'application/json']] as const;
    return this.#exchange(
      { method: 'POST', front: 'listen', body },
      [headBytes({ method: 'POST', path: url.pathname + url.search, headers, body }, body.length), body],
      true,
    );
  }

  /** Opens a stream and initialises; resolves to where its client posts. */
  async #openSse(): Promise<string> {
    const outgoing = request(`http://127.0.0.1:${this.#ports.listen}/servers/one/sse`, {
      headers: { accept: 'text/event-stream' },
      agent: false,
    });
    outgoing.on('error', () => undefined).end();
    const [response] = (await once(outgoing, 'response')) as [import('node:http').IncomingMessage];
    response
      .on('error', () => undefined)
      .on('close', () => {
        this.#sse = undefined;
      });
    const [first] = (await once(response, 'data')) as [Buffer];
    response.resume();
    const at = /data: (.*)/.exec(String(first))?.[1] ?? '/none';
    const params = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'fuzz', version: '1' } };
    await fetch(new URL(at, `http://127.0.0.1:${this.#ports.listen}`), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params }),
    });
    return at;
  }

  async #exchange(
    { front, method, body }: Pick<Input, 'front' | 'method' | 'body'>,
    pieces: readonly Buffer[],
    whole: boolean,
  ): Promise<Observed> {
    const door = front === 'handler' ? 'handler' : 'listen';
    const kept = whole ? this.#idle[door].pop() : undefined;
    const socket = kept ?? connect(this.#ports[door], '127.0.0.1').on('error', () => undefined);
    const reader = new RawResponseReader(socket, (type) => isStream(type, method, body), method === 'HEAD');
    for (const piece of pieces) {
      socket.write(piece);
      if (!whole && pieces.length < 5) await new Promise((resolve) => setImmediate(resolve));
    }
    if (!whole) {
      const answered = await within(reader.done, PATIENCE_MS);
      if (answered === undefined) socket.end();
    }
    const observed = await within(reader.done);
    reader.stop();
    if (observed === undefined || !whole || observed.closed) socket.destroy();
    else this.#idle[door].push(socket);
    // A connection that was kept may have been closed meanwhile: it is no answer to this.
    if (kept !== undefined && observed?.status === 0) return this.#exchange({ front, method, body }, pieces, whole);
    return observed === undefined ? HUNG : { ...observed, hung: false };
  }
}

const HUNG: Observed = { status: 0, type: '', body: '', hung: true };

/** A stream that does not end by itself. */
const isStream = (type: string, method: string, body: Buffer): boolean =>
  type.startsWith('text/event-stream') && (method === 'GET' || body.includes('subscriptions/listen'));

async function within<T>(work: Promise<T>, ms = DEADLINE_MS): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
