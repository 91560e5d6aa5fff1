import { LRUCache } from 'lru-cache';
import { type Caller, callerName } from '../connection/calls/Caller.js';
import type { Params } from '../connection/protocol/messages.js';
import type { Clock } from '../core/clock.js';
import { ForbiddenError, isOfRequest, RateLimitedError, UnauthorizedError } from '../core/errors.js';
import { keyText } from '../core/text/ownText.js';
import type { Blame } from './routes.js';

/** For so long a target gets none of the calls that it would refuse, while there are others. */
const AVOIDED_MS = 10_000;
/** A target that was silent is avoided for so many times as long as a call waited there, so that a tenth of the time is lost to it at most ... */
const AVOIDED_FACTOR = 10;
/** ... but no longer than this. */
const MAX_AVOIDED_MS = 300_000;
const MAX_REFUSALS = 10_000;

/** What of a call decides whether a target refuses it. */
export interface RefusableCall {
  readonly method: string;
  readonly params: Params | undefined;
  readonly caller: Caller | undefined;
}

/** Whether a server refused a call for what its caller may do: 401, 403, 429. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof UnauthorizedError ||
  error instanceof ForbiddenError ||
  (error instanceof RateLimitedError && error.source === 'upstream');

/**
 * Which targets refused whose calls a moment ago. A refusal is quick and must not draw calls: those it concerns go to the other
 * targets for a while, and those of others do not, so that no caller loses a target by what another may not do. A 403 concerns
 * one principal's calls of one tool, a 401 or 429 all of one principal's calls. So does a failure that its caller may have brought
 * about alone: to that caller the target fails, to others perhaps not. A status that speaks of the request (400, 413) concerns one
 * caller's calls of one tool, and so does a call that was given up without an answer.
 */
export class Refusals {
  readonly #clock: Clock;
  /** Clock ms until when a target is avoided, by target and whose calls. */
  readonly #untilMs = new LRUCache<string, number>({ max: MAX_REFUSALS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What a target's call failed with, and who has to do with it. */
  failed(target: string, call: RefusableCall, error: unknown, { voter, lateMs = 0 }: Partial<Blame> = {}): void {
    if (voter !== undefined) this.#avoid(voteKey(target, voter));
    if (isOfRequest(error)) this.#avoid(requestKey(target, call));
    if (lateMs > 0) this.#avoid(requestKey(target, call), Math.min(AVOIDED_FACTOR * lateMs, MAX_AVOIDED_MS));
    if (isRefusal(error)) this.#avoid(keyOf(target, call, error instanceof ForbiddenError ? ofTool(call) : undefined));
  }

  #avoid(key: string, forMs = 0): void {
    this.#untilMs.set(key, this.#clock.now() + Math.max(AVOIDED_MS, forMs));
  }

  /** Whether the target is to be avoided for the call. */
  avoids(target: string, call: RefusableCall): boolean {
    // Most have none.
    if (this.#untilMs.size === 0) return false;
    const voter = callerName(call.caller);
    return (
      this.#isOn(keyOf(target, call, undefined)) ||
      this.#isOn(keyOf(target, call, ofTool(call))) ||
      this.#isOn(requestKey(target, call)) ||
      (voter !== undefined && this.#isOn(voteKey(target, voter)))
    );
  }

  #isOn(key: string): boolean {
    const untilMs = this.#untilMs.get(key);
    if (untilMs === undefined) return false;
    if (this.#clock.now() < untilMs) return true;
    this.#untilMs.delete(key);
    return false;
  }
}

const ofTool = ({ method, params }: RefusableCall): readonly string[] => {
  const name = params?.['name'];
  return typeof name === 'string' ? [method, keyText(name)] : [method];
};

const keyOf = (target: string, { caller }: RefusableCall, of: readonly string[] | undefined): string =>
  JSON.stringify([target, caller?.principal ?? null, ...(of ?? [])]);

const requestKey = (target: string, call: RefusableCall): string =>
  JSON.stringify([target, [callerName(call.caller) ?? null, ...ofTool(call)]]);

const voteKey = (target: string, voter: string): string => JSON.stringify([target, [voter]]);
