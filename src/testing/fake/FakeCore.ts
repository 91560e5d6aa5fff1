import type { Params } from '../../connection/protocol/messages.js';
import { show } from '../../core/errors.js';
import { Emitter } from '../../core/events.js';
import { packageVersion } from '../../core/version.js';
import { EventLog } from '../faults/EventLog.js';
import type { KitEvent } from '../faults/events.js';
import { epochNow } from '../faults/events.js';
import { FaultPlan } from '../faults/FaultPlan.js';
import { randomOf } from '../faults/random.js';
import { Playback } from '../replay/Playback.js';
import { SpentIds } from '../wire/SpentIds.js';
import { WireMemory } from '../wire/WireMemory.js';
import { type FakeServerSettings, type FakeTool, readRecording } from './FakeServerOptions.js';
import { planState } from './planState.js';

/** What the sessions of one fake server have in common. */
export class FakeCore {
  readonly settings: FakeServerSettings;
  readonly plan: FaultPlan;
  readonly tools: Map<string, FakeTool>;
  /** The recording it answers from. */
  readonly playback: Playback | undefined;
  readonly info: { readonly name: string; readonly version: string };
  readonly #changes = new Emitter<{ readonly changed: string }>(() => undefined);
  /** What every client over HTTP shares. */
  readonly memory = new WireMemory();
  /** Of POSTs without a session. */
  readonly spent = new SpentIds();
  readonly #log: EventLog;
  #draws = 0;

  constructor(settings: FakeServerSettings) {
    this.settings = settings;
    this.#log = new EventLog(settings);
    const { plan = {}, stateFile, logger } = settings;
    this.plan = plan instanceof FaultPlan ? plan : new FaultPlan(plan, planState(stateFile, logger));
    this.playback = settings.replay === undefined ? undefined : new Playback(readRecording(settings.replay));
    this.tools = new Map(Object.entries(settings.tools));
    this.info = { name: settings.name, version: packageVersion() };
  }

  /** From 0 to 1, by the plan's seed. */
  readonly random = (): number => randomOf(this.plan.seed, 0x20000, ++this.#draws);

  get events(): readonly KitEvent[] {
    return this.#log.events;
  }

  get tell(): (event: KitEvent) => void {
    return this.#log.tell;
  }

  readonly diverged = (what: string, call?: string): void => {
    const event = { type: 'divergence' as const, atMs: epochNow(), server: this.settings.name, pid: process.pid, what };
    this.tell(call === undefined ? event : { ...event, call });
  };

  /** Tells which calls of the recording did not come. */
  finish(): void {
    for (const what of this.playback?.missing ?? []) this.diverged(what);
  }

  /** Why a call cannot be done; undefined: it can. */
  refusal(method: string, params: Params | undefined): string | undefined {
    const { name, uri } = params ?? {};
    const { resources, prompts } = this.settings;
    if (method === 'tools/call') return absent('unknown tool', name, (each) => this.tools.has(each));
    if (method === 'resources/read') return absent('no resource', uri, (each) => Object.hasOwn(resources, each));
    if (method === 'prompts/get') return absent('no prompt', name, (each) => Object.hasOwn(prompts, each));
    return undefined;
  }

  /** Tells every client that a list has changed. */
  changed(method: string): void {
    this.#changes.emit('changed', method);
  }

  onChange(listener: (method: string) => void): Disposable {
    return this.#changes.on('changed', listener);
  }
}

/** A client may send any value where a name is expected. */
function absent(what: string, name: unknown, has: (name: string) => boolean): string | undefined {
  if (typeof name !== 'string') return `${what} ${show(name)}`;
  return has(name) ? undefined : `${what} ${name}`;
}
