import type { Clock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { lent } from '../../core/time/within.js';

/**
 * What the replicas of one gateway tell each other, and what they remember together. `RedisReplicas` is one; the workers of
 * `serve --workers` have another. What it cannot tell is lost, and clients are served all the same.
 */
export interface ReplicaLink {
  /** Names this replica among the others: 8 hexadecimal digits. */
  readonly id: string;
  /**
   * Tells all other replicas, or the one that is named, if it can. Never throws. `mayBeLost`: clients say such at will, so that it is not told
   * while too much waits.
   */
  publish(message: string, mayBeLost?: boolean, to?: string): void;
  /** Hears what others publish, and `onGap` when some of it may have been missed, until disposed. */
  listen(onMessage: (message: string) => void, onGap: () => void): Disposable;
  /**
   * Notes something of a session for all replicas, kept for so long; `undefined` takes it away. `owner`: the session's principal or address,
   * whose share of all notes it counts to.
   */
  note(session: string, name: string, text: string | undefined, lifeMs: number, owner: string): Promise<void>;
  /** All that was noted of a session. */
  notes(session: string): Promise<Readonly<Record<string, string>>>;
  /** Whether a replica still runs, as far as is known. */
  isAlive(replica: string): Promise<boolean>;
}

/** A link of the program's own: what it has not answered in time is as what it cannot tell. @throws OptionError */
export function checkLink(link: ReplicaLink, clock: Clock, signal: AbortSignal): ReplicaLink {
  const methods = ['publish', 'listen', 'note', 'notes', 'isAlive'] as const;
  if (!(/^[0-9a-f]{8}$/.test(link?.id) && methods.every((name) => typeof link[name] === 'function')))
    throw new OptionError('replicas', link, `an object with an id of 8 hexadecimal digits, and ${methods.join(', ')}`);
  return {
    id: link.id,
    publish: (...given) => link.publish(...given),
    listen: (...given) => link.listen(...given),
    ...lent('the link to other replicas', link, ['note', 'notes', 'isAlive'], { clock, signal }),
  };
}
