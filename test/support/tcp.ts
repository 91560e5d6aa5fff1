import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { closeAfter } from './closeAfter.js';

/** A TCP server of the test's own that answers each chunk by `answer`, and what it saw. */
export class LineServer {
  readonly seen: string[] = [];
  /** How connections of it ended. */
  readonly ends: string[] = [];
  readonly #answer: (text: string) => string;
  readonly #server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
  readonly #sockets = new Set<Socket>();

  private constructor(answer: (text: string) => string) {
    this.#answer = answer;
  }

  static async listen(answer = (text: string): string => `<${text}>`): Promise<LineServer> {
    const server = closeAfter(new LineServer(answer));
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('data', (chunk) => {
      this.seen.push(chunk.toString());
      socket.write(this.#answer(chunk.toString()));
    });
    socket.on('error', (error: NodeJS.ErrnoException) => void this.ends.push(error.code ?? ''));
    socket.on('end', () => void this.ends.push('end'));
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

/** A client that notes what comes: chunks, and how it ended. */
export class RawSocket {
  readonly chunks: string[] = [];
  /** `end`, or the code of the error. */
  ended: string | undefined;
  readonly #socket: Socket;

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('data', (chunk) => void this.chunks.push(chunk.toString('latin1')));
    this.#socket.on('end', () => {
      this.ended ??= 'end';
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      this.ended ??= error.code;
    });
    closeAfter(this);
  }

  get text(): string {
    return this.chunks.join('');
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  /** Resolves when so much text has come. */
  async until(done: (text: string) => boolean): Promise<string> {
    while (!done(this.text)) {
      if (this.ended !== undefined) throw new Error(`it ended by ${this.ended} after ${JSON.stringify(this.text)}`);
      const control = new AbortController();
      const { signal } = control;
      const more = ['data', 'close'].map((event) => once(this.#socket, event, { signal }));
      await Promise.race(more).finally(() => control.abort());
      await Promise.allSettled(more);
    }
    return this.text;
  }

  /** Resolves when the connection is over, to how it ended. */
  async over(): Promise<string | undefined> {
    if (this.ended === undefined) await once(this.#socket, 'close').catch(() => undefined);
    return this.ended;
  }

  async close(): Promise<void> {
    if (this.#socket.closed) return;
    this.#socket.destroy();
    await once(this.#socket, 'close').catch(() => undefined);
  }
}
