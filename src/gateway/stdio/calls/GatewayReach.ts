import type { IncomingMessage } from 'node:http';
import { endOf, messageOf, NotSentError, type PoolkitError } from '../../../core/errors.js';
import { SingleFlight } from '../../../core/wait/SingleFlight.js';
import { isClosing, isRead, notReached } from '../answers.js';
import { LinkError } from '../HttpLink.js';
import type { StdioBridgeOptions } from '../StdioBridgeOptions.js';

/** Brings messages to a gateway that may be away, or be another one since. */
export class GatewayReach {
  readonly #revive: StdioBridgeOptions['revive'];
  readonly #signal: AbortSignal;
  readonly #reviving = new SingleFlight();

  /** `signal`: ends the wait for a gateway that is brought up. */
  constructor(revive: StdioBridgeOptions['revive'], signal: AbortSignal) {
    this.#revive = revive;
    this.#signal = signal;
  }

  /** Sends again what never left, or only reads, but to one that hangs; a gateway that is down is brought up first, where that can be done. */
  async send(method: string, send: () => Promise<IncomingMessage>): Promise<IncomingMessage> {
    let told: PoolkitError;
    try {
      const response = await send();
      if (!isClosing(response)) return response;
      // Its connection is of no more use: nothing is waited for.
      response.destroy();
      throw new LinkError(new Error('the gateway is closing'), true);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      const revive = this.#revive;
      told = notReached(error, method);
      if (error.cut || (!error.neverSent && !isRead(method))) throw told;
      if (error.givenUp) throw error.cause;
      if (error.neverSent && revive === undefined) throw told;
      if (revive !== undefined) {
        await this.#reviving.run('gateway', revive, this.#signal).catch((cause: unknown) => {
          throw endOf(told, new NotSentError('gateway', messageOf(cause), cause));
        });
      }
    }
    try {
      return await send();
    } catch (error) {
      throw error instanceof LinkError ? endOf(told, notReached(error, method)) : error;
    }
  }
}
