import { hedge } from '../concurrent/balance/hedge.js';
import { isToolError } from '../connection/calls/toolError.js';
import { exactText, sameNumber, saysAll } from '../connection/channel/codec/exactText.js';
import { withMembers } from '../connection/channel/codec/members.js';
import { costsMore, MAX_READ_BYTES } from '../connection/channel/codec/parsingCost.js';
import { neverRan, OutcomeUnknownError, RequestTimeoutError, RpcError } from '../core/errors.js';
import { utf8Text } from '../core/text/utf8Text.js';
import { inTurnOrNow } from '../core/time/turns.js';
import { withDeadline } from '../core/time/within.js';
import { canonical } from '../registry/config/fingerprint.js';
import type { RefusableCall, Refusals } from './Refusals.js';
import { mayAsk, type RoutedCall, type RoutedOptions, type RouterOptions } from './routes.js';
import type { RoutedServer, Target } from './Target.js';

/** Copies under way at a time; more are skipped and counted. */
export const MAX_MIRRORED_CALLS = 64;

/** A copy that the mirror does not answer is given up, whatever time the call itself has. */
const MIRROR_TIMEOUT_MS = 60_000;
/** What all answers may hold that wait to be compared, in characters; what comes beyond is not compared. */
const MAX_COMPARED_CHARS = 32 * 1_024 * 1_024;

/** What was copied to a mirror, and how its answers compare. */
export interface MirrorCounts {
  readonly sent: number;
  /** Not sent: too many were under way, or the mirror refused such a call a moment ago. */
  readonly skipped: number;
  readonly same: number;
  readonly different: number;
  readonly failed: number;
}

/** What a canary was asked. */
export interface CanaryCounts {
  readonly asked: number;
  /** Its answer was taken. */
  readonly answered: number;
  /** It failed, answered with an error or was slower: a target answered in its place. */
  readonly replaced: number;
}

/** Shares of the calls that may be repeated go to another target too, or to it first. A caller never feels how that ends. */
export class Shadow<S extends RoutedServer, O extends RoutedOptions> {
  readonly #options: RouterOptions<S>;
  readonly #refusals: Refusals;
  readonly #mirrored = { sent: 0, skipped: 0, same: 0, different: 0, failed: 0 };
  readonly #asked = { asked: 0, answered: 0, replaced: 0 };
  #copies = 0;
  #heldChars = 0;

  constructor(options: RouterOptions<S>, refusals: Refusals) {
    this.#options = options;
    this.#refusals = refusals;
  }

  get mirror(): MirrorCounts {
    return { ...this.#mirrored };
  }

  get canary(): CanaryCounts {
    return { ...this.#asked };
  }

  /** `run`: the call as it is without any of this. `mainAfterMs`: how long a canary may take before it is run besides. */
  async request(
    call: RoutedCall<S, O>,
    run: (signal?: AbortSignal) => Promise<unknown>,
    mainAfterMs: () => number,
  ): Promise<unknown> {
    const { targets, random } = this.#options;
    const { mirror, canary, config } = targets;
    if (mirror === undefined && canary === undefined) return run();
    const tried = canary !== undefined && !mayAsk(call) && random() < (config.canary?.ratio ?? DEFAULT_RATIO);
    const answer = tried && !this.#avoids(canary, call) ? this.#try(call, canary, run, mainAfterMs()) : run();
    if (mirror === undefined || random() >= (config.mirror?.ratio ?? DEFAULT_RATIO)) return answer;
    void this.#copy(call, mirror, config.mirror?.compare ?? true, answer);
    return answer;
  }

  /** It refused such a call a moment ago, as with a 429. */
  #avoids(target: Target<S>, call: RoutedCall<S, O>): boolean {
    return this.#refusals.avoids(target.id, refusable(call));
  }

  /** A failure of the canary is no answer, whatever it says: the targets have the last word. */
  async #try(
    call: RoutedCall<S, O>,
    canary: Target<S>,
    run: (signal?: AbortSignal) => Promise<unknown>,
    mainAfterMs: number,
  ): Promise<unknown> {
    this.#asked.asked++;
    const { signal, caller } = call.options;
    const { clock, sticky } = this.#options;
    let main: Promise<Answer> | undefined;
    let unsent = false;
    const ask = (own: AbortSignal): Promise<Answer> => {
      main ??= run(own).then((result) => ({ result, by: 'main' }));
      return main;
    };
    const attempt = async (own: AbortSignal, number: number): Promise<Answer> => {
      if (number > 1) return ask(own);
      try {
        const result = await call.send(canary.server, quiet(call.options, own), 'canary');
        if (isToolError(result)) throw new Error('the canary answered with an error');
        return { result, by: 'canary' };
      } catch (error) {
        if (signal?.aborted === true) throw error;
        unsent = neverRan(error);
        this.#refusals.failed(canary.id, refusable(call), error);
        return ask(own);
      }
    };
    let by = 'main';
    try {
      const answer = await hedge(attempt, { after: mainAfterMs, clock, ...(signal && { signal }) });
      by = answer.by;
      // The next page of what it listed is there alone.
      if (by === 'canary') sticky.answered(call.method, call.params, caller, answer.result, canary);
      return answer.result;
    } catch (error) {
      // That the targets never ran it does not say so of the canary.
      if (unsent || !neverRan(error)) throw error;
      throw new OutcomeUnknownError(this.#options.server, call.method, 'a canary may have run it', { cause: error });
    } finally {
      this.#asked[by === 'canary' ? 'answered' : 'replaced']++;
    }
  }

  async #copy(call: RoutedCall<S, O>, mirror: Target<S>, compare: boolean, answer: Promise<unknown>): Promise<void> {
    if (this.#copies >= MAX_MIRRORED_CALLS || this.#avoids(mirror, call)) {
      this.#mirrored.skipped++;
      return;
    }
    this.#copies++;
    this.#mirrored.sent++;
    // The caller's own signal ends the caller's call alone.
    const { clock, closing } = this.#options;
    const late = (): Error => new RequestTimeoutError(this.#options.server, call.method, MIRROR_TIMEOUT_MS);
    const bounds = { clock, timeoutMs: MIRROR_TIMEOUT_MS, signal: closing, late };
    const copied = withDeadline(bounds, (signal) => call.send(mirror.server, quiet(call.options, signal), 'mirror'));
    void copied.catch((error: unknown) => this.#refusals.failed(mirror.id, refusable(call), error));
    let heldChars = 0;
    const held = async (of: Promise<unknown>): Promise<string | undefined> => {
      const text = await settled(of, compare);
      if (text === undefined || this.#heldChars + text.length > MAX_COMPARED_CHARS) return text && UNREAD;
      this.#heldChars += text.length;
      heldChars += text.length;
      return text;
    };
    const [theirs, ours] = await Promise.all([held(copied), held(answer)]);
    this.#heldChars -= heldChars;
    this.#copies--;
    if (theirs === undefined) this.#mirrored.failed++;
    else if (theirs === UNREAD || ours === UNREAD || (theirs === LARGE && ours === LARGE)) return;
    else if (compare && ours !== undefined) {
      const same = await inTurnOrNow(() => alike(theirs, ours));
      this.#mirrored[same ? 'same' : 'different']++;
    }
  }
}

const DEFAULT_RATIO = 0.01;

const refusable = <S, O extends RoutedOptions>({ method, params, options }: RoutedCall<S, O>): RefusableCall => ({
  method,
  params,
  caller: options.caller,
});

interface Answer {
  readonly result: unknown;
  readonly by: 'canary' | 'main';
}

/** The call without what its caller hears of it, and with another signal. */
function quiet<O extends RoutedOptions>(options: O, signal: AbortSignal): O {
  const { onProgress: _, onNotification: __, onRequest: ___, ...rest } = options;
  return { ...rest, signal } as unknown as O;
}

/** What an answer says, to be compared; undefined for none. An error of the protocol is an answer. */
async function settled(answer: Promise<unknown>, compare: boolean): Promise<string | undefined> {
  try {
    const result = await answer;
    if (!compare) return '';
    if (result instanceof Uint8Array && result.length > MAX_READ_BYTES) return LARGE;
    // In turns of the event loop: several large ones may come together.
    return await inTurnOrNow(() => {
      const text = result instanceof Uint8Array ? utf8Text(Buffer.from(result)) : (exactText(result) ?? '{}');
      return text.length > MAX_READ_BYTES ? LARGE : (withMembers(text, { _meta: undefined }) ?? text);
    });
  } catch (error) {
    return error instanceof RpcError ? `error ${error.rpcCode}` : undefined;
  }
}

/** Stands for an answer that is too large to be compared with another such. */
const LARGE = 'large';
/** Stands for one that there was no room for. */
const UNREAD = 'unread';
/** What costs more to be read is the same only if it is written so. */
const MAX_COMPARED_COST = 5_000_000;

/** Whether two answers say the same, whatever the order of their members. */
function alike(a: string, b: string): boolean {
  if (a === b) return true;
  if (costsMore(a, MAX_COMPARED_COST) || costsMore(b, MAX_COMPARED_COST)) return false;
  try {
    const [one, other] = [JSON.parse(a), JSON.parse(b)];
    return saysAll(one, a, sameNumber) && saysAll(other, b, sameNumber) && canonical(one) === canonical(other);
  } catch {
    return false;
  }
}
