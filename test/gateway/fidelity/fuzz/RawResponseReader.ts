import type { Socket } from 'node:net';

export interface RawAnswer {
  /** 0: closed without an answer. */
  readonly status: number;
  readonly type: string;
  readonly body: string;
  /** The connection takes no more requests. */
  readonly closed: boolean;
  readonly session?: string | undefined;
}

/** Reads one response off a socket that is its own for so long. */
export class RawResponseReader {
  readonly done: Promise<RawAnswer>;
  readonly #socket: Socket;
  readonly #isStream: (type: string) => boolean;
  readonly #bodyless: boolean;
  #bytes = Buffer.alloc(0);
  #resolve: (answer: RawAnswer) => void = () => undefined;

  constructor(socket: Socket, isStream: (type: string) => boolean, bodyless: boolean) {
    this.#socket = socket;
    this.#isStream = isStream;
    this.#bodyless = bodyless;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    socket.on('data', this.#onData).on('close', this.#onClose).on('end', this.#onClose);
    if (socket.destroyed) this.#onClose();
  }

  stop(): void {
    this.#socket.off('data', this.#onData).off('close', this.#onClose).off('end', this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    this.#look(false);
  };

  readonly #onClose = (): void => {
    this.#look(true);
    this.#resolve({ status: 0, type: '', body: this.#bytes.toString('latin1'), closed: true });
  };

  #look(ended: boolean): void {
    const answer = this.#answer(ended);
    if (answer !== undefined) this.#resolve(answer);
  }

  #answer(ended: boolean): RawAnswer | undefined {
    const until = this.#bytes.indexOf('\r\n\r\n');
    if (until === -1) return undefined;
    const head = this.#bytes.subarray(0, until).toString('latin1');
    const status = Number(head.split(' ')[1]);
    if (status === 100) {
      this.#bytes = this.#bytes.subarray(until + 4);
      return this.#answer(ended);
    }
    const type = /^content-type: *(.*)$/im.exec(head)?.[1] ?? '';
    const rest = this.#bytes.subarray(until + 4);
    const closed = ended || /^connection: *close/im.test(head);
    if (this.#bodyless || status === 204 || status === 304) return { status, type, body: '', closed };
    if (this.#isStream(type)) return { status, type, body: '', closed: true };
    const body = bodyOf(head, rest, ended);
    const session = /^mcp-session-id: *(.*)$/im.exec(head)?.[1];
    return body === undefined ? undefined : { status, type, body, closed, session };
  }
}

/** The body, once all of it is there. */
function bodyOf(head: string, rest: Buffer, ended: boolean): string | undefined {
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length !== undefined)
    return rest.length < Number(length) ? undefined : rest.subarray(0, Number(length)).toString();
  if (/^transfer-encoding: *chunked/im.test(head)) return unchunked(rest);
  return ended ? rest.toString() : undefined;
}

/** What chunks hold, once the last is there. */
function unchunked(bytes: Buffer): string | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = bytes.indexOf('\r\n', at);
    if (line === -1) return undefined;
    const size = Number.parseInt(bytes.subarray(at, line).toString(), 16);
    if (size === 0) return Buffer.concat(parts).toString();
    if (bytes.length < line + 4 + size) return undefined;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 4 + size;
  }
}
