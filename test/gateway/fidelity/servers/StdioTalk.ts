import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Message } from '../../../support/httpClient.js';
import type { Started } from './SERVERS.js';

/** A client of one process, with nothing between. */
export class StdioTalk {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #lastId = 0;

  constructor({ command, args, env }: Started) {
    const child = spawn(command, [...args], { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'ignore'] });
    this.#child = child;
    child.stdin?.on('error', () => undefined);
    child.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => this.#read(line));
  }

  call(method: string, params: object): Promise<Message> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#write({ id, method, params });
    });
  }

  notify(method: string): void {
    this.#write({ method });
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  #write(message: object): void {
    this.#child.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  #read(line: string): void {
    let message: Message;
    try {
      message = JSON.parse(line) as Message;
    } catch {
      return;
    }
    const { id, method } = message;
    if (method !== undefined) {
      // What a server asks is refused: this client can do nothing.
      if (id !== undefined) this.#write({ id, error: { code: -32_601, message: 'method not found' } });
      return;
    }
    this.#waiting.get(Number(id))?.(message);
    this.#waiting.delete(Number(id));
  }
}
