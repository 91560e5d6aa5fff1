import type { Clock } from '../../core/clock.js';
import type { Connection } from './redisConnection.js';

/**
 * When the scripts were sent whose answers have just come. A lease is charged while its script runs, so it is charged from then on
 * at the latest; the library that sends the script does not tell when it does. Of several answers in one turn the
 * earliest time counts, since a lease that seems older than it is only lives shorter.
 */
export class ScriptTimes {
  #sentMs = Number.POSITIVE_INFINITY;

  constructor(client: Connection, clock: Clock) {
    const send = client.sendCommand.bind(client);
    client.sendCommand = (command, ...rest) => {
      const sentMs = clock.now();
      const answer = send(command, ...rest);
      if (command.name === 'evalsha' || command.name === 'eval') {
        Promise.resolve(answer).then(
          () => this.#answered(sentMs),
          () => undefined,
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
