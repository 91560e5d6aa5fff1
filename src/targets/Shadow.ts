import { hedge } from '../concurrent/balance/hedge.js';
import { isToolError } from '../connection/calls/toolError.js';
import { exactText, memoryWithText, sameNumber, saysAll } from '../connection/channel/codec/exactText.js';
import { withMembers } from '../connection/channel/codec/members.js';
import { costsMore, MAX_READ_BYTES } from '../connection/channel/codec/parsingCost.js';
import { neverRan, OutcomeUnknownError, RequestTimeoutError, RpcError } from '../core/errors.js';
import { utf8Text } from '../core/text/utf8Text.js';
import { inTurnOrNow } from '../core/time/turns.js';
import { withDeadline } from '../core/time/within.js';
import { canonical } from '../registry/config/fingerprint.js';
import type { RefusableCall, Refusals } from './Refusals.js';
import { aside, checkResult, type RoutedCall, type RoutedOptions, type RouterOptions } from './routes.js';
import { binds } from './Stickiness.js';
import type { RoutedServer, Target } from './Target.js';

/** Copies under way at a time; more are skipped and counted. */
export const MAX_MIRRORED_CALLS = 64;

/** A copy that the mirror does not answer is given up, whatever time the call itself has. */
const MIRROR_TIMEOUT_MS = 60_000;
/** What the copies of one server may hold in memory, in bytes: their params, and answers that wait to be compared. Those of all: twice as much. */
const MAX_MIRRORED_BYTES = 64 * 1_024 * 1_024;
let allHeldBytes = 0;

/** What was copied to a mirror, and how its answers compare. */
export interface MirrorCounts {
  readonly sent: number;
  /** Not sent: too many were under way or held too much, or the mirror refused such a call a moment ago. */
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
  #heldBytes = 0;

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
    const tried = canary !== undefined && !call.method.endsWith('/list') && !OF_THE_SERVER.has(call.method);
    const chosen = tried && random() < (config.canary?.ratio ?? DEFAULT_RATIO);
    const answer = chosen && !this.#avoids(canary, call) ? this.#try(call, canary, run, mainAfterMs()) : run();
    if (mirror === undefined || random() >= (config.mirror?.ratio ?? DEFAULT_RATIO)) return answer;
    this.#copy(call, mirror, config.mirror?.compare ?? true, answer);
    return answer;
  }

  /** It refused such a call a moment ago, as with a 429. */
  #avoids(target: Target<S>, call: RoutedCall<S, O>): boolean {
    return this.#refusals.avoids(target.id, refusable(call));
  }

  /** A failure of the canary is no answer, whatever it says: the targets have the last word, also while it has not answered. */
  async #try(
    call: RoutedCall<S, O>,
    canary: Target<S>,
    run: (signal?: AbortSignal) => Promise<unknown>,
    mainAfterMs: number,
  ): Promise<unknown> {
    this.#asked.asked++;
    const { signal } = call.options;
    const { clock, server } = this.#options;
    let main: Promise<Answer> | undefined;
    let unsent = false;
    let failed = false;
    let lose: (error: unknown) => void = () => undefined;
    const lost = new Promise<never>((_, reject) => {
      lose = reject;
    });
    lost.catch(() => undefined);
    const ask = (own: AbortSignal): Promise<Answer> => {
      main ??= run(own).then(
        (result) => ({ result, by: 'main' }),
        (error: unknown) => {
          failed = true;
          lose(error);
          throw error;
        },
      );
      return main;
    };
    const attempt = async (own: AbortSignal, number: number): Promise<Answer> => {
      if (number > 1) return ask(own);
      try {
        const { options, taken } = aside(server, call.options, own);
        const result = taken(await Promise.race([call.send(canary.server, options, 'canary'), lost]));
        checkResult(server, call.method, result);
        if (isToolError(result)) throw new Error('the canary answered with an error');
        if (binds(call.method, call.params, result)) throw new Error('the canary alone could go on with its answer');
        return { result, by: 'canary' };
      } catch (error) {
        if (failed || signal?.aborted === true) throw error;
        unsent = neverRan(error);
        this.#refusals.failed(canary.id, refusable(call), error);
        return ask(own);
      }
    };
    let by = 'main';
    try {
      const answer = await hedge(attempt, { after: mainAfterMs, clock, ...(signal && { signal }) });
      by = answer.by;
      return answer.result;
    } catch (error) {
      // That the targets never ran it does not say so of the canary.
      if (unsent || !neverRan(error)) throw error;
      throw new OutcomeUnknownError(server, call.method, 'a canary may have run it', { cause: error });
    } finally {
      this.#asked[by === 'canary' ? 'answered' : 'replaced']++;
    }
  }

  /** The copy lasts longer than the call: neither its answer nor whom it tells of its progress is kept for that. */
  #copy(call: RoutedCall<S, O>, mirror: Target<S>, compare: boolean, answer: Promise<unknown>): void {
    const refused = refusable(call);
    const { send, params, method } = call;
    const room = MAX_MIRRORED_BYTES - this.#heldBytes;
    const full = this.#copies >= MAX_MIRRORED_CALLS || this.#refusals.avoids(mirror.id, refused);
    // Beside them their text is kept, and written anew for the mirror.
    const bytes = full ? 0 : 2 * memoryWithText(params, room / 2);
    if (full || !this.#hold(bytes)) {
      this.#mirrored.skipped++;
      return;
    }
    this.#copies++;
    this.#mirrored.sent++;
    // The caller's own signal ends the caller's call alone.
    const { clock, closing, server } = this.#options;
    const { options, taken } = aside(server, call.options, closing);
    const late = (): Error => new RequestTimeoutError(server, method, MIRROR_TIMEOUT_MS);
    const bounds = { clock, timeoutMs: MIRROR_TIMEOUT_MS, signal: closing, late };
    const copied = withDeadline(bounds, async (signal) =>
      taken(await send(mirror.server, { ...options, signal }, 'mirror')),
    );
    const ended = (): void => this.#giveBack(bytes);
    void copied.then(ended, (error: unknown) => {
      this.#refusals.failed(mirror.id, refused, error);
      ended();
    });
    void this.#compare(this.#said(copied, compare), this.#said(answer, compare), compare);
  }

  async #compare(copied: Promise<string | undefined>, answer: Promise<string | undefined>, compare: boolean) {
    const [theirs, ours] = await Promise.all([copied, answer]);
    for (const text of [theirs, ours]) if (text !== undefined && text !== UNREAD) this.#giveBack(2 * text.length);
    this.#copies--;
    if (theirs === undefined) this.#mirrored.failed++;
    else if (theirs === UNREAD || ours === UNREAD || (theirs === LARGE && ours === LARGE)) return;
    else if (compare && ours !== undefined) {
      const same = await alike(theirs, ours);
      this.#mirrored[same ? 'same' : 'different']++;
    }
  }

  /** What of an answer is compared; nothing else of it is kept until the other one comes. */
  async #said(answer: Promise<unknown>, compare: boolean): Promise<string | undefined> {
    const text = await settled(answer, compare);
    return text === undefined || this.#hold(2 * text.length) ? text : UNREAD;
  }

  #hold(bytes: number): boolean {
    if (this.#heldBytes + bytes > MAX_MIRRORED_BYTES || allHeldBytes + bytes > 2 * MAX_MIRRORED_BYTES) return false;
    this.#heldBytes += bytes;
    allHeldBytes += bytes;
    return true;
  }

  #giveBack(bytes: number): void {
    this.#heldBytes -= bytes;
    allHeldBytes -= bytes;
  }
}

const DEFAULT_RATIO = 0.01;

/** A canary is not asked what the server can do; by a ping a target comes up, whose handshake is asked for then. What a list of it said would be kept for others, too. */
const OF_THE_SERVER: ReadonlySet<string> = new Set(['ping', 'server/discover']);

const refusable = <S, O extends RoutedOptions>({ method, params, options }: RoutedCall<S, O>): RefusableCall => ({
  method,
  params,
  caller: options.caller,
});

interface Answer {
  readonly result: unknown;
  readonly by: 'canary' | 'main';
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
      if (text.length > MAX_READ_BYTES) return LARGE;
      // In memory of its own: it may be a small part of its message.
      return utf8Text(Buffer.from(withMembers(text, { _meta: undefined }) ?? text));
    });
  } catch (error) {
    return error instanceof RpcError ? `error ${error.rpcCode}` : undefined;
  }
}

/** Stands for an answer that is too large to be compared with another such. */
const LARGE = 'large';
/** Stands for one that there was no room for. */
const UNREAD = 'unread';
/** What costs more to be read is the same only if it is written so: to compare takes ten times as long. */
const MAX_COMPARED_COST = 1_000_000;

/** Whether two answers say the same, whatever the order of their members; each is gone through in a turn of its own. */
async function alike(a: string, b: string): Promise<boolean> {
  if (a === b) return true;
  try {
    const one = await inTurnOrNow(() => canonicalOf(a));
    return one !== undefined && one === (await inTurnOrNow(() => canonicalOf(b)));
  } catch {
    return false;
  }
}

/** Undefined for what costs too much to be read, and for what says more than its values do. */
function canonicalOf(text: string): string | undefined {
  if (costsMore(text, MAX_COMPARED_COST)) return undefined;
  const value: unknown = JSON.parse(text);
  return saysAll(value, text, sameNumber) ? canonical(value) : undefined;
}
