import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isTurnSpent, spendCaller } from '../../../core/time/turns.js';
import { RingQueue } from '../../../core/wait/RingQueue.js';
import { Turns } from '../../../core/wait/Turns.js';
import { addressOrigin } from '../../session/origin.js';
import type { HeldBytes } from '../HeldBytes.js';

/** Requests that begin in one turn of the event loop, of all that waited for it. */
const PER_TURN = 8;
/** While so many requests of one connection wait, nothing more is read from it. */
const MAX_WAITING = 64;
/** While none of them begins for so long, in ms, it is read all the same: else nothing would tell that its client has left. */
const MAX_PAUSE_MS = 1_000;

/** Node reads so much of a connection at one go: what comes behind it waits there until a body is taken. */
const PIECE_BYTES = 64 * 1_024;

/** What waits to begin requests. */
interface Line {
  readonly owner: string;
  /** Begins the oldest; how many are left that may. */
  begin(): number;
}

/** The requests of one connection that wait. */
class Pipeline implements Line {
  readonly owner: string;
  readonly #socket: Socket;
  /** Those that may begin, oldest first. */
  readonly #ready = new RingQueue<() => void>();
  #waiting = 0;
  #paused: NodeJS.Timeout | undefined;
  /** Node reads on behind each request that has come whole, and 32 pieces in a turn. */
  readonly #hold = (): void => void this.#socket.pause();

  constructor(socket: Socket) {
    this.owner = addressOrigin(socket.remoteAddress);
    this.#socket = socket.once('close', () => this.#resume());
  }

  /** Nothing is to be read from its connection, though Node resumes it. */
  get held(): boolean {
    return this.#paused !== undefined;
  }

  /** One more waits. */
  add(): void {
    if (++this.#waiting !== MAX_WAITING || this.#paused !== undefined) return;
    this.#paused = setTimeout(() => this.#resume(), MAX_PAUSE_MS).unref();
    this.#socket.on('resume', this.#hold).pause();
  }

  /** One of them may begin; how many may. */
  push(begin: () => void): number {
    this.#ready.push(begin);
    return this.#ready.size;
  }

  begin(): number {
    this.#ready.shift()?.();
    if (--this.#waiting < MAX_WAITING) this.#resume();
    else this.#paused?.refresh();
    return this.#ready.size;
  }

  #resume(): void {
    if (this.#paused === undefined) return;
    clearTimeout(this.#paused);
    this.#paused = undefined;
    this.#socket.off('resume', this.#hold).resume();
  }
}

/** Has requests that wait behind others, or came in an array with others, begin one by one: one of a connection in each turn of the event loop, a few over all. Addresses take turns. */
class Pipelines {
  readonly #all = new WeakMap<Socket, Pipeline>();
  /** Those with requests that may begin. */
  readonly #ready = new Turns<string, Line>();
  #scheduled = 0;
  /** Each in a callback of its own: what one has promised is done before the next begins. */
  readonly #next = (): void => {
    this.#scheduled--;
    const line = this.#ready.take();
    if (line === undefined) return;
    if (line.begin() > 0) this.add(line);
    else this.#schedule();
  };

  /** Whether any may begin, and has not yet. */
  get waiting(): boolean {
    return this.#ready.size > 0;
  }

  of(socket: Socket): Pipeline {
    let pipeline = this.#all.get(socket);
    if (pipeline === undefined) {
      pipeline = new Pipeline(socket);
      this.#all.set(socket, pipeline);
    }
    return pipeline;
  }

  isHeld(socket: Socket): boolean {
    return this.#all.get(socket)?.held === true;
  }

  push(pipeline: Pipeline, begin: () => void): void {
    if (pipeline.push(begin) === 1) this.add(pipeline);
  }

  add(line: Line): void {
    this.#ready.add(line.owner, line);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled >= Math.min(PER_TURN, this.#ready.size)) return;
    this.#scheduled++;
    setImmediate(this.#next);
  }
}

const pipelines = new Pipelines();

/** Whether so many requests of a connection wait that nothing more is to be read from it: Node reads on behind each that has come whole. */
export const isHeld = (socket: Socket): boolean => pipelines.isHeld(socket);

/**
 * Resolves once a request that waits behind others on its connection may begin: in the order in which they came, in turns of the event loop that
 * all such requests share, since hundreds come in one piece. One that only reads also waits until its answer is the next to leave: what it
 * says need not be made before. Others do not: a call may wait for what comes behind it.
 */
export function itsTurn(response: ServerResponse): Promise<void> {
  const { destroyed, req } = response;
  if (destroyed) return Promise.resolve();
  const pipeline = pipelines.of(req.socket);
  pipeline.add();
  return new Promise((resolve) => {
    const ready = (): void => pipelines.push(pipeline, resolve);
    if (req.method !== 'GET' && req.method !== 'HEAD') ready();
    // It may be over before.
    else response.once('socket', ready).once('close', resolve);
  });
}

/** Resolves once one more request of an array may begin, of all that are that owner's, in the same turns. */
export function arrayTurn(owner: string): Promise<void> {
  return new Promise((resolve) => {
    const begin = (): number => {
      resolve();
      return 0;
    };
    pipelines.add({ owner, begin });
  });
}

/**
 * For a request that is behind no other on its connection. Undefined: it begins at once, and counts to the share of all in this turn. So it is while
 * that is not used up and nothing else waits to begin. Else it waits in the turns of `arrayTurn`, as a request of its address, and what has come of
 * its body counts meanwhile; where there is no room for that it begins at once, too, to be refused.
 */
export function laterTurn({ headers, socket }: IncomingMessage, held: HeldBytes): Promise<void> | undefined {
  if (!pipelines.waiting && !isTurnSpent()) {
    spendCaller();
    return undefined;
  }
  const { 'content-length': length = 0, 'transfer-encoding': coding } = headers;
  const bytes = coding === undefined ? Math.min(PIECE_BYTES, Number(length)) : PIECE_BYTES;
  const owner = addressOrigin(socket?.remoteAddress);
  return held.takeFor(owner, bytes) ? arrayTurn(owner).then(() => held.giveBackFor(owner, bytes)) : undefined;
}
