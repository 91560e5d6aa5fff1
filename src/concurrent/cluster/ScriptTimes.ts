import type { Clock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import type { Connection } from './redisConnection.js';

/**
 * What Bottleneck answers by making its keys anew and sending the script once more, as often as it comes: keys expire, and a process that
 * was stopped for long is no longer known. From Redis 7 on `ERR` stands before it.
 */
const FORGOTTEN = /^(?:ERR )?(SETTINGS_KEY_NOT_FOUND|UNKNOWN_CLIENT)\b/;
/** More than all the scripts in flight of a process that lost its keys at once; in a window, for a store may lose them again. */
const MAX_REFUSALS = 500;
const WINDOW_MS = 1_000;

/**
 * When the scripts were sent whose answers have just come. A lease is charged while its script runs, so it is charged from then on
 * at the latest; the library that sends the script does not tell when it does. Of several answers in one turn the
 * earliest time counts, since a lease that seems older than it is only lives shorter.
 */
export class ScriptTimes {
  #sentMs = Number.POSITIVE_INFINITY;
  #refusals = 0;
  #untilMs = Number.NEGATIVE_INFINITY;

  /**
   * `onForgotten` is called when the store says that it does not know the limit, or us, and `onFlood` when it says so again and again.
   */
  constructor(client: Connection, clock: Clock, onForgotten: () => void, onFlood: () => void) {
    const send = client.sendCommand.bind(client);
    client.sendCommand = (command, ...rest) => {
      const sentMs = clock.now();
      const answer = send(command, ...rest);
      if (command.name === 'evalsha' || command.name === 'eval') {
        Promise.resolve(answer).then(
          () => this.#answered(sentMs),
          (error: unknown) => {
            const code = FORGOTTEN.exec(messageOf(error))?.[1];
            if (code === undefined) return;
            // Bottleneck, which looks at it after this, knows the bare word alone.
            (error as Error).message = code;
            if (clock.now() >= this.#untilMs) {
              this.#untilMs = clock.now() + WINDOW_MS;
              this.#refusals = 0;
            }
            onForgotten();
            if (++this.#refusals === MAX_REFUSALS) onFlood();
          },
        );
      }
      return answer;
    };
  }

  /** The earliest of this turn of the loop; undefined when no answer came in it. */
  get sentMs(): number | undefined {
    return this.#sentMs === Number.POSITIVE_INFINITY ? undefined : this.#sentMs;
  }

  #answered(sentMs: number): void {
    if (this.#sentMs === Number.POSITIVE_INFINITY) {
      setImmediate(() => {
        this.#sentMs = Number.POSITIVE_INFINITY;
      });
    }
    this.#sentMs = Math.min(this.#sentMs, sentMs);
  }
}
