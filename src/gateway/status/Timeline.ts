import { systemClock } from '../../core/clock.js';
import { ownText } from '../../core/text/ownText.js';
import type { McpPool } from '../../pool/McpPool.js';
import type { TimelineEvent } from './StatusData.js';

const MAX_EVENTS = 300;
const MAX_TEXT_CHARS = 500;
/** Of the name of a server. */
const MAX_NAME_CHARS = 1_024;

/** The newest events of a pool: starts, ends, crashes, breakers, configs. */
export class Timeline implements Disposable {
  readonly #events: TimelineEvent[] = [];
  readonly #onEvent: (event: TimelineEvent) => void;
  readonly #listening: readonly Disposable[];
  #id = 0;

  constructor(pool: McpPool, onEvent: (event: TimelineEvent) => void) {
    this.#onEvent = onEvent;
    this.#listening = [
      pool.on('started', ({ server, pid, startMs }) =>
        this.add('started', server, `up after ${Math.round(startMs)} ms${pid === undefined ? '' : `, process ${pid}`}`),
      ),
      pool.on('exited', ({ server, pid, expected, reason }) =>
        this.add(expected ? 'ended' : 'crashed', server, `${reason}${pid === undefined ? '' : ` (process ${pid})`}`),
      ),
      pool.on('restarted', ({ server, attempt, reason }) =>
        this.add('restarted', server, `restarted: ${reason}${attempt === 0 ? '' : `, attempt ${attempt}`}`),
      ),
      pool.on('state', ({ server, state, previous }) => {
        if (state === 'failed' || state === 'degraded' || state === 'stopped') {
          this.add('state', server, `${previous} → ${state}`);
        }
      }),
      pool.on('breaker', ({ server, state, scope, target }) =>
        this.add(
          'breaker',
          server,
          `breaker ${state}${target === undefined ? '' : `, target ${target}`}${scope === 'server' ? '' : ` (of one ${scope})`}`,
        ),
      ),
      pool.on('applied', ({ added, removed, restarted, updated }) =>
        this.add(
          'config',
          null,
          `config applied: ${added.length} added, ${removed.length} removed, ${restarted.length} restarted${updated === undefined ? '' : `, ${updated.length} updated`}`,
        ),
      ),
      pool.on('leaked', ({ server, heldMs }) => this.add('leak', server, `a lease is held for ${heldMs} ms`)),
    ];
  }

  /** Oldest first. */
  get events(): readonly TimelineEvent[] {
    return this.#events;
  }

  add(kind: TimelineEvent['kind'], server: string | null, text: string): void {
    const event = {
      id: ++this.#id,
      at: systemClock.wallNow(),
      kind,
      server: server === null ? null : ownText(server, MAX_NAME_CHARS),
      text: ownText(text, MAX_TEXT_CHARS),
    };
    this.#events.push(event);
    if (this.#events.length > MAX_EVENTS) this.#events.shift();
    this.#onEvent(event);
  }

  [Symbol.dispose](): void {
    for (const each of this.#listening) each[Symbol.dispose]();
  }
}
