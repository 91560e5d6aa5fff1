import { appendFileSync } from 'node:fs';
import { tellListener } from '../../core/events.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import type { KitEvent } from './events.js';

export interface FaultLogOptions {
  /** Told of each effect and fault. @defaultValue none */
  readonly onEvent?: (event: KitEvent) => void;
  /** A file to which each event is appended as a line of JSON, at once. @defaultValue none */
  readonly eventsFile?: string;
  /** Events kept in `events`, from 0; beyond that the oldest go. @defaultValue 10000 */
  readonly maxEvents?: number;
  /** Told of an `onEvent` that throws. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

/** What a server or a proxy saw and did: kept, written down, and told, in this order. */
export class EventLog {
  readonly events: KitEvent[] = [];
  readonly #options: FaultLogOptions;

  constructor(options: FaultLogOptions) {
    this.#options = options;
  }

  readonly tell = (event: KitEvent): void => {
    const { eventsFile, onEvent, maxEvents = 10_000, logger = silentLogger } = this.#options;
    // Before anything else can go wrong: what died with the process is the point of the file.
    if (eventsFile !== undefined) appendFileSync(eventsFile, `${JSON.stringify(event)}\n`);
    this.events.push(event);
    if (this.events.length > maxEvents) this.events.shift();
    if (onEvent !== undefined)
      tellListener(onEvent, event, (error) => logger.error({ error }, 'a listener of fault events threw'));
  };
}
