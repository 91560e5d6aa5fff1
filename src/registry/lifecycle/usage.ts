import type { ProcessRow } from '../process/processTable.js';

/** What a server and everything that came from it take. */
export interface ServerUsage {
  /** Members alive. */
  readonly processes: number;
  /** Sum of the members' resident sets, in bytes: memory they share counts once for each. */
  readonly residentBytes: number;
  /**
   * CPU since the sample before (the first: since the start), in percent of one core; two busy cores make 200. Samples
   * less than 100 ms apart share one figure; 0 until the first 100 ms are over.
   */
  readonly cpuPercent: number;
  /** Milliseconds since the epoch. */
  readonly sampledAt: number;
}

/** The system counts CPU in ticks of 10 ms: over less than this a rate would be noise, and the one before stands. */
const MIN_SPAN_MS = 100;

/**
 * Turns readings of a group into rates. A member's CPU holds that of the children it has waited for, so the sum grows
 * by what was used also when members came and went between two readings; only what a stranger reaped is lost.
 */
export class UsageMeter {
  #lastMs: number;
  #lastCpuMs = 0;
  #cpuPercent = 0;

  constructor(startMs: number) {
    this.#lastMs = startMs;
  }

  sample(members: readonly ProcessRow[], nowMs: number, wallMs: number): ServerUsage {
    const cpuMs = members.reduce((sum, row) => sum + row.cpuMs, 0);
    const elapsedMs = nowMs - this.#lastMs;
    if (elapsedMs >= MIN_SPAN_MS) {
      this.#cpuPercent = (Math.max(0, cpuMs - this.#lastCpuMs) / elapsedMs) * 100;
      this.#lastMs = nowMs;
      this.#lastCpuMs = cpuMs;
    }
    return {
      processes: members.length,
      residentBytes: members.reduce((sum, row) => sum + row.residentBytes, 0),
      cpuPercent: this.#cpuPercent,
      sampledAt: wallMs,
    };
  }
}
