import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../../core/clock.js';
import { sleep } from '../../../core/time/sleep.js';
import type { RequestMessage } from '../../rpc/envelope.js';
import { errorCodeIn } from '../answers.js';

/** A request that set something for as long as its session lasts. */
export interface Kept {
  readonly method: string;
  /** Its params as JSON text. */
  readonly said: string;
}

/** Asks the session there is now, and resolves to the answer. */
export type Ask = (kept: Kept) => Promise<string>;

const KEPT: ReadonlySet<string> = new Set(['logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']);
/** So many subscriptions are kept, the newest, with params of so many characters. */
const MAX_KEPT = 1_000;
const MAX_KEPT_CHARS = 8 * 1_024;
const AT_ONCE = 8;
/** What is not given is asked for again after so long, each time twice as long up to the second, and for so long in all, in ms. */
const AGAIN_MS = 500;
const MAX_AGAIN_MS = 30_000;
const LONGEST_MS = 300_000;
/** No session gives what it has no method for. */
const SETTLED: ReadonlySet<number | undefined> = new Set([undefined, RPC_CODES.methodNotFound]);

/** What a client asked its session for and was given, its log level and its subscriptions: the next session is asked for it, too. */
export class KeptSettings {
  readonly #clock: Clock;
  /** By URI, and '' for the log level. */
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  clear(): void {
    this.#kept.clear();
  }

  /** The answer to a request of the client came. */
  answered({ method, params, paramsText }: RequestMessage, answer: string): void {
    if (!KEPT.has(method) || errorCodeIn(answer) !== undefined) return;
    const key = method === 'logging/setLevel' ? '' : String(params?.['uri']);
    const said = paramsText ?? JSON.stringify(params ?? {});
    this.#kept.delete(key);
    if (method === 'resources/unsubscribe' || said.length > MAX_KEPT_CHARS) return;
    this.#kept.set(key, { method, said });
    if (this.#kept.size <= MAX_KEPT) return;
    // The level stays.
    const oldest = [...this.#kept.keys()].find((each) => each !== '');
    if (oldest !== undefined) this.#kept.delete(oldest);
  }

  /**
   * Asks for all of it, and again for what is not given, as by a gateway whose servers are not up yet, until the signal says that the session is
   * over. Resolves when all were asked for once. Never rejects.
   */
  async askAgain(ask: Ask, signal: AbortSignal): Promise<void> {
    const level = this.#kept.get('');
    const others = [...this.#kept].filter(([key]) => key !== '');
    const left = await this.#askAll(level === undefined ? others : [['', level], ...others], ask, signal);
    this.#goOn(left, ask, signal).catch(() => undefined); // the session is over
  }

  async #goOn(first: readonly [string, Kept][], ask: Ask, signal: AbortSignal): Promise<void> {
    const clock = this.#clock;
    const untilMs = clock.now() + LONGEST_MS;
    let left = first;
    for (let waitMs = AGAIN_MS; left.length > 0 && clock.now() < untilMs; waitMs = Math.min(2 * waitMs, MAX_AGAIN_MS)) {
      await sleep(clock, waitMs, { signal, ref: false });
      left = await this.#askAll(left, ask, signal);
    }
  }

  /** Those that were not given, and that the client still wants. */
  async #askAll(wanted: readonly [string, Kept][], ask: Ask, signal: AbortSignal): Promise<[string, Kept][]> {
    const left: [string, Kept][] = [];
    const next = wanted.values();
    const work = async (): Promise<void> => {
      for (const [key, kept] of next) {
        if (signal.aborted) return;
        if (this.#kept.get(key) !== kept) continue;
        const given = await ask(kept).then(
          (answer) => SETTLED.has(errorCodeIn(answer)),
          () => false,
        );
        if (!given) left.push([key, kept]);
        // The client has given it up meanwhile, and its word may have come before.
        else if (!this.#kept.has(key)) await ask({ ...kept, method: 'resources/unsubscribe' }).catch(() => undefined);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return left;
  }
}
