import type { ServerResponse } from 'node:http';
import type { Logger } from '../../../core/logger.js';
import { targetOf } from '../paths.js';

/**
 * Why a response was cut. `failed`: its call failed after a part of the answer had left; `stalled`: its client took nothing of it for
 * `stallTimeoutMs`; `no_room`: what waits for clients had reached `maxBufferedBytes`.
 */
export type CutReason = 'failed' | 'stalled' | 'no_room';

/** Of a session's id so much is logged: enough to find it again, too little to use it. */
const ID_CHARS = 8;
/** More requests are not named. */
const MAX_NAMED = 5;

/** Responses that are broken off, so that no client takes a part for the whole: nothing else tells of them. */
export class CutResponses {
  readonly #logger: Logger;
  readonly #counts: Record<CutReason, number> = { failed: 0, stalled: 0, no_room: 0 };

  /** `logger`: limited, since clients can have it written to at will. */
  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** How many there were. */
  get counts(): Readonly<Record<CutReason, number>> {
    return { ...this.#counts };
  }

  /** Responses that were complete were cut by the stop: their clients had not read them. Not counted: nothing counts any more. */
  atStop(unread: readonly string[]): void {
    if (unread.length === 0) return;
    const requests = unread.slice(0, MAX_NAMED);
    this.#logger.warn(
      { requests, count: unread.length },
      'responses were cut at the stop: their clients had not read them',
    );
  }

  /**
   * Cuts it, unless `told` ends it in a way that tells its client of it. One whose client has gone by itself is not told of. `why`: what happened,
   * in words.
   */
  cut(response: ServerResponse, reason: CutReason, why: string, told: () => boolean = () => false): void {
    const { req, destroyed, writableFinished } = response;
    if (destroyed || writableFinished || req.socket?.destroyed) {
      response.destroy();
      return;
    }
    this.#counts[reason]++;
    const { server, group } = targetOf(req.url ?? '', { mounted: true, sse: true }) ?? {};
    const id = req.headers['mcp-session-id'];
    const session = typeof id === 'string' ? { session: `…${id.slice(-ID_CHARS)}` } : {};
    this.#logger.warn(
      { reason, why, ...(server && { server }), ...(group && { group }), ...session },
      'a response was cut before its end',
    );
    if (!told()) response.destroy();
  }
}
