import { randomUUID } from 'node:crypto';

/** The part of an ioredis connection that is used here. */
export interface ScriptRunner {
  eval(script: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>;
}

/** What the store knows of us. */
export interface FleetLook {
  /** Processes that share the limit, this one included. */
  readonly processes: number;
  /** The store's mark. Another one than before: what it knew of this limit is gone. */
  readonly mark: string;
}

/**
 * KEYS: the processes with the time until which each counts; the mark. ARGV: us; how long a process counts, in ms;
 * how long the mark stays, in ms; a new mark. Time is the store's own.
 */
const LOOK = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[4], 'NX')
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return { redis.call('ZCARD', KEYS[1]), redis.call('GET', KEYS[2]) }
`;

const LEAVE = `return redis.call('ZREM', KEYS[1], ARGV[1])`;

/**
 * Two keys of our own beside those of the limit, in the same slot: which processes share it, and a mark that tells a
 * store that was emptied from one that remembers.
 */
export class FleetMarks {
  readonly #runner: ScriptRunner;
  readonly #members: string;
  readonly #mark: string;
  readonly #me: string;
  readonly #memberMs: string;
  readonly #markMs: string;

  constructor(
    runner: ScriptRunner,
    {
      id,
      me,
      memberMs,
      markMs,
    }: { readonly id: string; readonly me: string; readonly memberMs: number; readonly markMs: number },
  ) {
    this.#runner = runner;
    this.#members = `b_${id}_poolkit_processes`;
    this.#mark = `b_${id}_poolkit_mark`;
    this.#me = me;
    this.#memberMs = `${Math.ceil(memberMs)}`;
    this.#markMs = `${Math.ceil(markMs)}`;
  }

  /** Says that we are here, and looks who else is. */
  async look(): Promise<FleetLook> {
    const keys = [this.#members, this.#mark] as const;
    const answer = await this.#runner.eval(LOOK, 2, ...keys, this.#me, this.#memberMs, this.#markMs, randomUUID());
    const [processes, mark] = answer as readonly [number, string];
    return { processes: Math.max(1, processes), mark };
  }

  /** Says that we are gone; without it we count until our time is over. */
  async leave(): Promise<void> {
    await this.#runner.eval(LEAVE, 1, this.#members, this.#me);
  }
}
