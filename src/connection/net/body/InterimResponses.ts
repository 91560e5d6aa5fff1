import type { Clock } from '../../../core/clock.js';

/** Interim responses to one request in a second: each is read at once, whatever its headers cost. */
const MAX_INTERIM = 20;

/** The responses that say that another follows (1xx), of one request. */
export class InterimResponses {
  #count = 0;
  #sinceMs = Number.NEGATIVE_INFINITY;

  /** One more came: an error when they are too many. */
  add(clock: Clock): Error | undefined {
    const nowMs = clock.now();
    if (nowMs - this.#sinceMs >= 1_000) {
      this.#sinceMs = nowMs;
      this.#count = 0;
    }
    const many = ++this.#count > MAX_INTERIM;
    return many ? new Error(`more than ${MAX_INTERIM} interim responses in a second`) : undefined;
  }
}
