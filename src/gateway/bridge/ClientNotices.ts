import { memoryWithText } from '../../connection/channel/codec/exactText.js';
import type { Logger } from '../../core/logger.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import type { Params } from '../rpc/envelope.js';

/** Of one session's notifications, so many may be on their way to servers, and so many bytes as held where there are several. */
const MAX_NOTICES = 64;
const MAX_BYTES = 8 * 1_024 * 1_024;
/** What one holds beside its params. */
const NOTICE_BYTES = 2_048;

interface Underway {
  notices: number;
  bytes: number;
}

/**
 * What clients say of themselves, on its way to their servers. The client has its 202 by then and says the next at once, however slowly a
 * server takes it: what is on its way counts as held by the gateway, and beyond a session's bound it is dropped.
 */
export class ClientNotices {
  readonly #held: HeldBytes;
  readonly #logger: Logger;
  readonly #underway = new WeakMap<object, Underway>();

  constructor(held: HeldBytes, logger: Logger) {
    this.#held = held;
    this.#logger = logger;
  }

  /** `owner`: whose share it counts to. `tell` delivers it; what it rejects with is logged. */
  send(
    session: object,
    owner: string,
    method: string,
    params: Params | undefined,
    server: string,
    tell: () => Promise<void>,
  ): void {
    const own = this.#underway.get(session) ?? { notices: 0, bytes: 0 };
    const bytes = memoryWithText(params) + NOTICE_BYTES;
    const full = own.notices > 0 && (own.notices >= MAX_NOTICES || own.bytes + bytes > MAX_BYTES);
    if (full || !this.#held.hasRoomForNotice(owner, bytes) || !this.#held.takeFor(owner, bytes)) {
      this.#logger.warn({ server, method }, 'a notification of a client is dropped: too many wait');
      return;
    }
    this.#underway.set(session, own);
    own.notices++;
    own.bytes += bytes;
    tell()
      .catch((error: unknown) => this.#logger.debug({ server, method, error }, 'a server was not told'))
      .finally(() => {
        own.notices--;
        own.bytes -= bytes;
        this.#held.giveBackFor(owner, bytes);
      });
  }
}
