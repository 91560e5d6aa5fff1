import { existsSync, realpathSync, statSync, truncateSync } from 'node:fs';
import { basename, resolve, sep } from 'node:path';
import { checkText, withDefaults } from '../../core/options.js';
import { EventLog, type FaultLogOptions } from '../faults/EventLog.js';
import type { KitEvent } from '../faults/events.js';
import { FaultPlan, type FaultPlanOptions } from '../faults/FaultPlan.js';
import { faultEvent } from '../faults/faultEvent.js';
import { type DiskCall, type DiskVerdict, judgeDisk } from './patch.js';

export interface FaultyDiskOptions extends FaultLogOptions {
  /** The folder whose files go wrong, with all below it. */
  readonly folder: string;
  /** What goes wrong: a plan, or what makes one. @defaultValue nothing */
  readonly plan?: FaultPlan | FaultPlanOptions;
  /** The disk's name, for events and for rules with a `server`. @defaultValue 'disk' */
  readonly name?: string;
}

const CODES = Object.freeze({
  diskFull: ['ENOSPC', -28, 'no space left on device'],
  readOnly: ['EROFS', -30, 'read-only file system'],
  ioError: ['EIO', -5, 'i/o error'],
} as const);

/**
 * A folder whose files go wrong as a plan says (the faults whose wire is `disk`; the path is the rule's `uri`), for
 * whatever part of this process uses them by `node:fs`: no mount and no rights are needed. Until it is disposed it stands
 * in front of Node's own functions; files elsewhere are not touched.
 */
export class FaultyDisk implements Disposable {
  readonly plan: FaultPlan;
  readonly #folders: readonly string[];
  readonly #name: string;
  readonly #log: EventLog;
  readonly #patch: Disposable;

  /** @throws OptionError */
  constructor(options: FaultyDiskOptions) {
    const known = { folder: true, plan: true, onEvent: true, eventsFile: true, maxEvents: true, logger: true } as const;
    const { folder, plan = {}, name } = withDefaults('FaultyDisk', options, { name: 'disk' }, known);
    const given = resolve(checkText('folder', folder));
    this.#folders = existsSync(given) ? [given, realpathSync(given)] : [given];
    this.#name = checkText('name', name);
    this.plan = plan instanceof FaultPlan ? plan : new FaultPlan(plan);
    this.#log = new EventLog(options);
    this.#patch = judgeDisk((call) => this.#judge(call));
  }

  /** What went wrong, oldest first. */
  get events(): readonly KitEvent[] {
    return this.#log.events;
  }

  /** From now on the disk works. */
  [Symbol.dispose](): void {
    this.#patch[Symbol.dispose]();
  }

  #judge({ method, syscall, path }: DiskCall): DiskVerdict | undefined {
    const full = resolve(path);
    if (!this.#folders.some((folder) => full === folder || full.startsWith(folder + sep))) return undefined;
    const params = { uri: full, name: basename(full) };
    const injection = this.plan.next({ server: this.#name, method, params, wire: 'disk' });
    if (injection === undefined) return undefined;
    this.#log.tell(faultEvent(injection));
    const { fault, delayMs } = injection;
    if (fault === 'slowDisk') return { delayMs: delayMs ?? this.plan.delayMs };
    if (fault === 'tornWrite') return { after: () => truncateSync(path, Math.floor(statSync(path).size / 2)) };
    const [code, errno, text] = CODES[fault as keyof typeof CODES];
    return {
      error: Object.assign(new Error(`${code}: ${text}, ${syscall} '${path}'`), { code, errno, syscall, path }),
    };
  }
}
