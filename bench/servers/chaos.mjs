// Servers for the chaos run, of both eras, over stdio and HTTP. They say whose call everything is about, append what they do to
// the file EFFECTS, and go wrong as the `fault` of a call's arguments says.
//   chaos.mjs stdio <name> <era>              one server over stdio
//   chaos.mjs web <port> <name:kind> ...      several over HTTP; kind: sessions, plain, modern, sse
// Tools: echo {text}, slow {ms}, progress, tell (a log message), late (one after its answer), changed, ask, helper, daemon
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

const KEY = 'mcp-poolkit/call';
const TOOLS = ['echo', 'slow', 'progress', 'tell', 'late', 'changed', 'ask', 'helper', 'daemon'];
const turn = () => new Promise((resolve) => setImmediate(resolve));
const rpc = (message) => JSON.stringify({ jsonrpc: '2.0', ...message });

/** One server: what it does with calls, whatever brings them. */
class Service {
  #running = new Map();
  #asked = new Map();
  #nextAsk = 1;

  constructor(name, era) {
    this.name = name;
    this.era = era;
  }

  note(phase, call, tool, session) {
    const atMs = performance.timeOrigin + performance.now();
    const event = {
      type: 'effect',
      atMs,
      phase,
      server: this.name,
      pid: process.pid,
      session,
      call,
      method: 'tools/call',
      tool,
    };
    appendFileSync(process.env.EFFECTS, `${JSON.stringify(event)}\n`);
  }

  /** `peer.send` goes to the session, `reply` belongs to this message. */
  receive(peer, message, reply) {
    const { id, method, params = {} } = message;
    if (method === undefined) return this.#answered(peer, message);
    if (id === undefined) {
      if (method === 'notifications/cancelled') this.cancel(peer, params.requestId);
      return undefined;
    }
    const result = (value) =>
      reply.end({ id, result: { ...value, ...(this.era === 'modern' && { resultType: 'complete' }) } });
    switch (method) {
      case 'initialize':
        if (this.era === 'modern') {
          const data = { supported: ['2026-07-28'] };
          return reply.end({ id, error: { code: -32022, message: 'modern only', data } });
        }
        return result({ protocolVersion: params.protocolVersion, ...this.#about() });
      case 'server/discover':
        if (this.era !== 'modern') return reply.end({ id, error: { code: -32601, message: 'no such method' } });
        return result({ supportedVersions: ['2026-07-28'], ...this.#about() });
      case 'tools/list':
        return result({ tools: TOOLS.map((name) => ({ name, inputSchema: { type: 'object' } })) });
      case 'tools/call':
        return this.#call(peer, message, reply, result);
      case 'ping':
      case 'logging/setLevel':
        return result({});
      default:
        return reply.end({ id, error: { code: -32601, message: `no method ${method}` } });
    }
  }

  cancel(peer, id) {
    this.#running.get(`${peer.session} ${id}`)?.();
  }

  /** The session is over: what it asked for is not worked on any more. */
  forget(session) {
    for (const [key, stop] of [...this.#running]) if (session === undefined || key.startsWith(`${session} `)) stop();
  }

  #about() {
    const capabilities = { tools: { listChanged: true }, logging: {} };
    return { capabilities, serverInfo: { name: this.name, version: '1' } };
  }

  #answered(peer, message) {
    this.#asked.get(`${peer.session} ${message.id}`)?.(message);
  }

  async #call(peer, { id, params }, reply, result) {
    const { name: tool, arguments: args = {}, _meta = {} } = params;
    const { [KEY]: stamp, progressToken } = _meta;
    const { fault } = args;
    const note = (phase) => this.note(phase, stamp, tool, peer.session);
    const meta = { _meta: { [KEY]: stamp } };
    if (fault === 'drop') return;
    if (reply.refuse?.(fault) === true) return;
    note('begin');
    const cancelled = new Promise((resolve) => this.#running.set(`${peer.session} ${id}`, () => resolve('cancelled')));
    if (reply.onGone !== undefined) reply.onGone(() => this.cancel(peer, id));
    const wait = async (ms) => {
      let timer;
      const over = await Promise.race([cancelled, new Promise((resolve) => (timer = setTimeout(resolve, ms, 'over')))]);
      clearTimeout(timer);
      // What came while this process was not scheduled is read before it is said that nothing came.
      if (over === 'over') await turn().then(turn);
      return Promise.race([cancelled, turn().then(() => 'over')]);
    };
    const done = async (value) => {
      this.#running.delete(`${peer.session} ${id}`);
      note('end');
      const answer = { content: [{ type: 'text', text: String(value) }], ...meta };
      if (reply.spoil?.(fault, { id, result: answer }) === true) return;
      result(answer);
    };
    const stop = () => {
      this.#running.delete(`${peer.session} ${id}`);
      note('cancelled');
      reply.drop?.();
    };
    if (fault === 'hang') {
      await cancelled;
      return stop();
    }
    if (args.ms > 0 && (await wait(args.ms)) === 'cancelled') return stop();
    switch (tool) {
      case 'progress':
        for (let progress = 1; progress <= 3; progress++) {
          const step = { progressToken, progress, total: 3, ...meta };
          if (progressToken !== undefined) reply.send({ method: 'notifications/progress', params: step });
          if ((await wait(1)) === 'cancelled') return stop();
        }
        break;
      case 'tell':
        reply.send({ method: 'notifications/message', params: { level: 'info', data: 'told', ...meta } });
        // No level holds it back: it shows who hears what is about one caller alone.
        reply.send({ method: 'notifications/told', params: meta });
        break;
      case 'late':
        setTimeout(() => {
          peer.send({ method: 'notifications/message', params: { level: 'info', data: 'late', ...meta } });
        }, 20).unref();
        break;
      case 'changed':
        peer.send({ method: 'notifications/tools/list_changed', params: meta });
        break;
      case 'ask': {
        const ask = `ask-${this.#nextAsk++}`;
        const answer = new Promise((resolve) => this.#asked.set(`${peer.session} ${ask}`, resolve));
        const question = { messages: [], maxTokens: 1, ...meta };
        reply.send({ id: ask, method: 'sampling/createMessage', params: question });
        const first = await Promise.race([answer, cancelled]);
        this.#asked.delete(`${peer.session} ${ask}`);
        if (first === 'cancelled') return stop();
        break;
      }
      case 'helper':
        spawn('sleep', ['600'], { stdio: 'ignore' });
        break;
      case 'daemon':
        spawn('sleep', ['600'], { stdio: 'ignore', detached: true }).unref();
        break;
      default:
    }
    await done(args.text);
  }
}

function stdio([name, era]) {
  const service = new Service(name, era);
  const out = (message) => process.stdout.write(`${rpc(message)}\n`);
  const peer = { session: String(process.pid), send: out };
  const reply = {
    send: out,
    end: out,
    refuse(fault) {
      if (fault === 'crash-before') process.exit(9);
      return false;
    },
    spoil(fault, answer) {
      switch (fault) {
        case 'crash':
          process.exit(9);
          break;
        case 'half': {
          const text = rpc(answer);
          process.stdout.write(text.slice(0, text.length / 2), () => process.exit(9));
          return true;
        }
        case 'close-stdout':
          process.stdout.end();
          return true;
        case 'duplicate':
          out(answer);
          return false;
        case 'garbage':
          process.stdout.write('this is a log line\n{"half": \n\nnull\n[]\n');
          return false;
        case 'unknown-id':
          out({ ...answer, id: 987_654 });
          out({ ...answer, id: 'of nobody' });
          return false;
        case 'stderr':
          process.stderr.write(`${'e'.repeat(500)}\n`.repeat(200));
          return false;
        case 'error':
          out({ id: answer.id, error: { code: -32000, message: 'no luck' } });
          return true;
        default:
          return false;
      }
    },
  };
  let rest = '';
  process.stdout.on('error', () => process.exit(9));
  process.stdin.setEncoding('utf8').on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line !== '') service.receive(peer, JSON.parse(line), reply);
  });
  process.stdin.on('end', () => process.exit(0));
}

function web([port, ...kinds]) {
  const services = new Map(
    kinds.map((each) => {
      const [name, kind] = each.split(':');
      return [name, new WebServer(new Service(name, kind === 'modern' ? 'modern' : 'legacy'), kind)];
    }),
  );
  const server = createServer((req, res) => {
    const [, name, rest = ''] = /^\/([^/]+)\/(.*)$/.exec(req.url) ?? [];
    const service = services.get(name);
    if (service === undefined) res.writeHead(404).end();
    else service.serve(req, res, rest).catch(() => res.destroy());
  });
  server.keepAliveTimeout = 60_000;
  server.listen(Number(port), '127.0.0.1', () => console.log('listening'));
}

class WebServer {
  #sessions = new Map();

  constructor(service, kind) {
    this.service = service;
    this.kind = kind;
  }

  async serve(req, res, rest) {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    if (this.kind === 'sse') return this.#sse(req, res, rest, body);
    const id = req.headers['mcp-session-id'];
    const message = body === '' ? undefined : JSON.parse(body);
    if (this.kind !== 'sessions')
      return this.#dispatch({ session: randomUUID(), send: () => undefined }, req, res, message);
    if (message?.method === 'initialize') {
      const peer = this.#open();
      res.setHeader('mcp-session-id', peer.session);
      return this.#dispatch(peer, req, res, message);
    }
    const peer = this.#sessions.get(id);
    if (peer === undefined) return res.writeHead(404).end();
    if (req.method === 'DELETE') {
      this.#sessions.delete(id);
      this.service.forget(id);
      return res.writeHead(200).end();
    }
    if (req.method !== 'GET') return this.#dispatch(peer, req, res, message);
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    peer.stream = res;
    return undefined;
  }

  #open() {
    const peer = {
      session: randomUUID(),
      stream: undefined,
      send: (message) => void peer.stream?.write(`data: ${rpc(message)}\n\n`),
    };
    this.#sessions.set(peer.session, peer);
    return peer;
  }

  #dispatch(peer, req, res, message) {
    if (message === undefined) return res.writeHead(405).end();
    if (message.id === undefined || message.method === undefined) {
      this.service.receive(peer, message);
      return res.writeHead(202).end();
    }
    return this.service.receive(peer, message, this.#reply(peer, req, res, message));
  }

  #reply(peer, _req, res, message) {
    const streams = message.method === 'tools/call' && message.params.name !== 'echo';
    const begin = () => {
      if (!res.headersSent) res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    };
    const send = (each) => {
      begin();
      res.write(`data: ${rpc(each)}\n\n`);
    };
    return {
      send,
      end: (each) => {
        if (streams || res.headersSent) {
          send(each);
          res.end();
        } else if (each.error?.code === -32601) {
          res.writeHead(this.kind === 'modern' ? 404 : 400, { 'content-type': 'application/json' }).end(rpc(each));
        } else if (each.error?.code === -32022) {
          res.writeHead(400, { 'content-type': 'application/json' }).end(rpc(each));
        } else res.writeHead(200, { 'content-type': 'application/json' }).end(rpc(each));
      },
      drop: () => res.end(),
      // Modern: the end of the stream is the cancel. Legacy: it is not.
      ...(this.kind === 'modern' && {
        onGone: (cancel) => {
          begin();
          res.on('close', () => !res.writableFinished && cancel());
        },
      }),
      refuse: (fault) => {
        const status = /^status-(\d+)$/.exec(fault ?? '')?.[1];
        if (status !== undefined) {
          res.writeHead(Number(status), status === '429' || status === '503' ? { 'retry-after': '0' } : {}).end();
          return true;
        }
        if (fault === 'reset-before') {
          res.destroy();
          return true;
        }
        if (fault === 'lose-sessions' && this.kind === 'sessions') {
          this.#sessions.clear();
          this.service.forget();
          res.writeHead(404).end();
          return true;
        }
        return false;
      },
      spoil: (fault, answer) => {
        switch (fault) {
          case 'reset':
            res.destroy();
            return true;
          case 'cut':
            begin();
            res.write(`data: ${rpc(answer).slice(0, 30)}`, () => res.destroy());
            return true;
          case 'no-answer':
            begin();
            res.end();
            return true;
          case 'duplicate':
            send(answer);
            return false;
          case 'garbage':
            begin();
            res.write(': a comment\n\ndata: no json\n\ndata: {"half": \n\n');
            return false;
          case 'unknown-id':
            send({ ...answer, id: 987_654 });
            return false;
          case 'status-after':
            if (res.headersSent) res.destroy();
            else res.writeHead(502).end();
            return true;
          case 'error':
            res.headersSent || streams
              ? send({ id: answer.id, error: { code: -32000, message: 'no luck' } })
              : undefined;
            if (res.headersSent) res.end();
            else {
              const error = { code: -32000, message: 'no luck' };
              res.writeHead(200, { 'content-type': 'application/json' }).end(rpc({ id: answer.id, error }));
            }
            return true;
          default:
            return false;
        }
      },
      session: peer.session,
    };
  }

  async #sse(req, res, rest, body) {
    if (req.method === 'GET') {
      const peer = this.#open();
      peer.stream = res;
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(`event: endpoint\ndata: /${this.service.name}/message?session=${peer.session}\n\n`);
      res.on('close', () => {
        this.#sessions.delete(peer.session);
        this.service.forget(peer.session);
      });
      return;
    }
    const peer = this.#sessions.get(new URL(rest, 'http://localhost').searchParams.get('session'));
    if (peer === undefined) {
      res.writeHead(404).end();
      return;
    }
    const reply = {
      send: peer.send,
      end: peer.send,
      refuse: (fault) => {
        const status = /^status-(\d+)$/.exec(fault ?? '')?.[1];
        if (status !== undefined) res.writeHead(Number(status)).end();
        else if (fault === 'reset-before') res.destroy();
        else return false;
        return true;
      },
      spoil: (fault, answer) => {
        switch (fault) {
          case 'reset':
          case 'cut':
            peer.stream.write(`data: ${rpc(answer).slice(0, 30)}`, () => peer.stream.destroy());
            return true;
          case 'duplicate':
            peer.send(answer);
            return false;
          case 'garbage':
            peer.stream.write(': a comment\n\ndata: no json\n\n');
            return false;
          case 'error':
            peer.send({ id: answer.id, error: { code: -32000, message: 'no luck' } });
            return true;
          default:
            return false;
        }
      },
    };
    const done = this.service.receive(peer, JSON.parse(body), reply);
    if (!res.headersSent && !res.destroyed) res.writeHead(202).end();
    await done;
  }
}

process.on('SIGTERM', () => process.exit(0));
const [kind, ...rest] = process.argv.slice(2);
if (kind === 'web') web(rest);
else stdio(rest);
