import type { Latency } from '../core/time/Latency.js';

/** Counts the answers that come on one connection, and records how long they took. */
export class AnswerMeter {
  count = 0;
  /** The handshake is no call: nothing is counted before it. */
  counting = false;
  readonly onAnswer: (latencyMs: number) => void;

  constructor(latency: Latency) {
    this.onAnswer = (latencyMs) => {
      if (!this.counting) return;
      this.count++;
      latency.record(latencyMs);
    };
  }
}
