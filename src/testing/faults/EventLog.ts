import { tellListener } from '../../core/events.js';
import { appendWhole } from '../../core/files/writeWhole.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkCount, checkText } from '../../core/options.js';
import type { KitEvent } from './events.js';

export interface FaultLogOptions {
  /** Told of each effect and fault. @defaultValue none */
  readonly onEvent?: (event: KitEvent) => void;
  /** A file to which each event is appended as a line of JSON, at once; a failure to is logged, once. @defaultValue none */
  readonly eventsFile?: string;
  /** Events kept in `events`, from 0; beyond that the oldest go. @defaultValue 10000 */
  readonly maxEvents?: number;
  /** Told of an `onEvent` that throws, and of an `eventsFile` that cannot be written; by a proxy of messages that it cannot read, too. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

/** What a server or a proxy saw and did: kept, written down, and told, in this order. */
export class EventLog {
  readonly events: KitEvent[] = [];
  readonly #options: FaultLogOptions;
  #unwritten = false;

  /** @throws OptionError */
  constructor(options: FaultLogOptions) {
    if (options.eventsFile !== undefined) checkText('eventsFile', options.eventsFile);
    if (options.maxEvents !== undefined) checkCount('maxEvents', options.maxEvents);
    this.#options = options;
  }

  readonly tell = (event: KitEvent): void => {
    const { eventsFile, onEvent, maxEvents = 10_000, logger = silentLogger } = this.#options;
    // Before anything else can go wrong: what died with the process is the point of the file.
    if (eventsFile !== undefined) this.#write(eventsFile, event, logger);
    this.events.push(event);
    if (this.events.length > maxEvents) this.events.shift();
    if (onEvent !== undefined)
      tellListener(onEvent, event, (error) => logger.error({ error }, 'a listener of fault events threw'));
  };

  /** Called by listeners of sockets and pipes, so that it must not throw. */
  #write(file: string, event: KitEvent, logger: Logger): void {
    try {
      appendWhole(file, `${JSON.stringify(event)}\n`);
    } catch (error) {
      if (!this.#unwritten) logger.error({ error, file }, 'fault events cannot be written');
      this.#unwritten = true;
    }
  }
}
