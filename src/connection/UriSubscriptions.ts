import { NotSentError, OutcomeUnknownError, RequestTimeoutError } from '../core/errors.js';
import { Turns } from '../core/wait/Turns.js';
import type { Connection } from './Connection.js';

/** So many are asked of a server at once: what its callers call goes between them. */
const MAX_ASKING = 32;
/** Of a server that takes them slowly so many wait to be given back. More are not: what it goes on to tell of them is for nothing. */
const MAX_LEAVING = 1_000;
/** Longest that a server has to answer that a URI is given back, in ms. */
export const LEAVE_MS = 1_000;

interface Uri {
  readonly uri: string;
  readonly owner: string;
  wanted: boolean;
  /** Whether the server is to tell of it, as far as is known. */
  agreed: boolean;
  /** A request for it is on its way. */
  busy: boolean;
  /** Ends that request, where it asks. */
  asking: AbortController | undefined;
  /** For those who wait for the server to agree. */
  asked: Asked;
  /** For the one that waits until the server was told that it is given back. */
  onLeft: (() => void) | undefined;
}

interface Asked {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The URIs that one legacy server is asked to tell updates of over one connection: what is wanted of it, and what it was told. The two are
 * brought together by a few requests at a time, asks first, and owners take turns. What is not wanted any more before its turn
 * was never asked for: clients that subscribe to thousands of URIs and leave cost the others little.
 */
export class UriSubscriptions {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #onError: (error: unknown) => void;
  readonly #uris = new Map<string, Uri>();
  readonly #toAsk = new Turns<string, Uri>();
  readonly #toLeave = new Turns<string, Uri>();
  #sending = 0;
  #closed = false;

  /** `onError`: what a server answers to a URI that is given back; not told for one that is silent or gone. */
  constructor(connection: Connection, timeoutMs: number, onError: (error: unknown) => void) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
    this.#onError = onError;
  }

  has(uri: string): boolean {
    return this.#uris.has(uri);
  }

  /** Resolves when the server has agreed, and rejects with what it answered: who asks for what was asked for shares the answer. */
  ask(uri: string, owner: string): Promise<void> {
    const it = this.#uris.get(uri) ?? newUri(uri, owner);
    this.#uris.set(uri, it);
    it.wanted = true;
    this.#toLeave.delete(it.owner, it);
    it.onLeft?.();
    this.#bring(it);
    return it.asked.promise;
  }

  /** The last one that wanted it is gone. Resolves when the server was told, or need not be. */
  async giveBack(uri: string): Promise<void> {
    const it = this.#uris.get(uri);
    if (it?.wanted !== true) return;
    it.wanted = false;
    if (!it.agreed && !it.busy) return this.#forget(it);
    const left = new Promise<void>((resolve) => {
      it.onLeft = resolve;
    });
    // Whether it was asked for already is not known then: it is given back all the same.
    it.asking?.abort(OVER);
    this.#bring(it);
    return left;
  }

  /** Nothing more is sent: the session that it was for is over. */
  close(): void {
    this.#closed = true;
    for (const it of this.#uris.values()) if (!it.busy) this.#forget(it);
  }

  /** What is wanted and what the server knows differ: it waits for its turn. */
  #bring(it: Uri): void {
    if (it.busy || it.wanted === it.agreed) return;
    if (this.#closed || (it.agreed && this.#toLeave.size >= MAX_LEAVING)) this.#forget(it);
    else if (it.wanted) this.#toAsk.add(it.owner, it);
    else this.#toLeave.add(it.owner, it);
    this.#next();
  }

  #next(): void {
    while (this.#sending < MAX_ASKING) {
      const it = this.#toAsk.take() ?? this.#toLeave.take();
      if (it === undefined) return;
      this.#sending++;
      it.busy = true;
      if (it.wanted) this.#ask(it);
      else this.#leave(it);
    }
  }

  #ask(it: Uri): void {
    it.asking = new AbortController();
    const options = { timeoutMs: this.#timeoutMs, signal: it.asking.signal };
    this.#connection.request('resources/subscribe', { uri: it.uri }, options).then(
      () => {
        it.agreed = true;
        it.asked.resolve();
        this.#settled(it);
      },
      (error: unknown) => {
        if (it.asking?.signal.aborted === true) it.agreed = !it.wanted;
        else {
          it.wanted = false;
          it.asked.reject(error);
        }
        this.#settled(it);
      },
    );
  }

  #leave(it: Uri): void {
    it.asked = newAsked();
    const options = { timeoutMs: Math.min(this.#timeoutMs, LEAVE_MS) };
    this.#connection
      .request('resources/unsubscribe', { uri: it.uri }, options)
      .catch((error: unknown) => {
        if (!isQuiet(error)) this.#onError(error);
      })
      .then(() => {
        it.agreed = false;
        this.#settled(it);
      });
  }

  #settled(it: Uri): void {
    it.busy = false;
    it.asking = undefined;
    this.#sending--;
    if (it.wanted || it.agreed) this.#bring(it);
    else this.#forget(it);
    this.#next();
  }

  #forget(it: Uri): void {
    this.#toAsk.delete(it.owner, it);
    this.#toLeave.delete(it.owner, it);
    it.asked.reject(OVER);
    it.onLeft?.();
    if (this.#uris.get(it.uri) === it) this.#uris.delete(it.uri);
  }
}

const newUri = (uri: string, owner: string): Uri => ({
  uri,
  owner,
  wanted: false,
  agreed: false,
  busy: false,
  asking: undefined,
  asked: newAsked(),
  onLeft: undefined,
});

/** One for all: making one costs more than all the rest. */
export const OVER = new DOMException('the subscription is over', 'AbortError');

function newAsked(): Asked {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // It may be that none waits any more.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

const isQuiet = (error: unknown): boolean =>
  [NotSentError, OutcomeUnknownError, RequestTimeoutError].some((each) => error instanceof each);
