import type { ServerState } from '../../McpPool.js';
import type { PartitionState } from './partitionState.js';

type Tag = PartitionState['tag'];

/** Which state of a partition stands for the whole server, the first that any of them is in. */
const SHOWN: readonly (readonly [Tag, ServerState])[] = [
  ['ready', 'ready'],
  ['starting', 'starting'],
  ['backingOff', 'degraded'],
  ['failed', 'failed'],
];

/** How many partitions of a server are in each state. */
export class StateTally {
  readonly #tags: Record<Tag, number> = { idle: 0, starting: 0, ready: 0, backingOff: 0, failed: 0 };

  add(state: PartitionState): void {
    this.#tags[state.tag]++;
  }

  remove(state: PartitionState): void {
    this.#tags[state.tag]--;
  }

  /** Whether some partition may have to wait before it starts again. */
  get resting(): boolean {
    return this.#tags.backingOff + this.#tags.failed > 0;
  }

  /** The whole server's. */
  get shown(): ServerState {
    return SHOWN.find(([tag]) => this.#tags[tag] > 0)?.[1] ?? 'idle';
  }
}
