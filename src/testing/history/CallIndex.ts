import type {
  AnswerEvent,
  CancelEvent,
  EffectEvent,
  FailureEvent,
  HistoryEvent,
  InvokeEvent,
  ProgressEvent,
  WithheldEvent,
} from './HistoryEvent.js';

/** Everything about one call, each list in the order of the history. */
export interface CallRecord {
  readonly call: string;
  readonly invokes: InvokeEvent[];
  readonly settles: (AnswerEvent | FailureEvent)[];
  readonly cancels: CancelEvent[];
  readonly progress: ProgressEvent[];
  readonly effects: EffectEvent[];
  /** What befell it, by name. */
  readonly faults: Set<string>;
}

/** The call a stamp stands for: one that a gateway made for another call bears the name of the first. */
export const rootOf = (call: string): string => call.split('/', 1)[0] ?? call;

/** A history by call, and by place: what the rules read. Made in one pass. */
export class CallIndex {
  readonly events: readonly HistoryEvent[];
  readonly calls = new Map<string, CallRecord>();
  /** The calls that a gateway's own pool made for another, by that other's name. */
  readonly nested = new Map<string, InvokeEvent[]>();
  /** Where each event stands: "before" means in the history, whatever the clocks say. */
  readonly places = new Map<HistoryEvent, number>();
  readonly ended: boolean;
  readonly #withheld: WithheldEvent[] = [];
  /** When servers took no connections, by server. */
  readonly #refusals = new Map<string, number[]>();
  readonly #begins = new Map<string, EffectEvent[]>();
  /** Servers that tell whose call an effect is. */
  readonly reporting = new Set<string>();

  constructor(events: readonly HistoryEvent[]) {
    this.events = events;
    let ended = false;
    events.forEach((event, place) => {
      this.places.set(event, place);
      switch (event.type) {
        case 'invoke':
          this.#of(event.call).invokes.push(event);
          if (event.call.includes('/')) this.#nest(event);
          break;
        case 'answer':
        case 'failure':
          this.#of(event.call).settles.push(event);
          break;
        case 'cancel':
          this.#of(event.call).cancels.push(event);
          break;
        case 'progress':
          this.#of(event.call).progress.push(event);
          break;
        case 'effect':
          if (event.call === undefined) break;
          this.reporting.add(event.server);
          this.#of(event.call).effects.push(event);
          if (event.phase === 'begin') this.#begun(event);
          break;
        case 'fault':
          if (event.call !== undefined) this.#of(event.call).faults.add(event.fault);
          if (event.fault === 'refused' && event.server !== undefined) this.#refused(event.server, event.atMs);
          break;
        case 'withheld':
          this.#withheld.push(event);
          break;
        case 'end':
          ended = true;
          break;
        default:
      }
    });
    this.ended = ended;
  }

  placeOf(event: HistoryEvent): number {
    return this.places.get(event) ?? -1;
  }

  /** How much of the time between two moments the machine withheld from those that act, in ms. */
  withheldMs(fromMs: number, untilMs: number): number {
    const spans = this.#withheld.map(({ atMs, ms }) => ({ from: atMs - ms, until: Math.min(atMs, untilMs) }));
    let sum = 0;
    // Those of several processes overlap: what two of them lacked is counted once.
    let doneMs = fromMs;
    for (const { from, until } of spans.sort((a, b) => a.from - b.from)) {
      sum += Math.max(0, until - Math.max(from, doneMs));
      doneMs = Math.max(doneMs, until);
    }
    return sum;
  }

  /** Whether a server began to refuse and reset all connections between two moments: no message reached it then. */
  refusedBetween(server: string, fromMs: number, untilMs: number): boolean {
    return this.#refusals.get(server)?.some((atMs) => atMs >= fromMs && atMs <= untilMs) === true;
  }

  /** What a server began in one session, in the order of the history. */
  begins(server: string, pid: number, session: string): readonly EffectEvent[] {
    return this.#begins.get(`${server} ${pid} ${session}`) ?? [];
  }

  #refused(server: string, atMs: number): void {
    const all = this.#refusals.get(server);
    if (all === undefined) this.#refusals.set(server, [atMs]);
    else all.push(atMs);
  }

  #begun(event: EffectEvent): void {
    const { server, pid, session } = event;
    if (pid === undefined || session === undefined) return;
    const key = `${server} ${pid} ${session}`;
    const list = this.#begins.get(key);
    if (list === undefined) this.#begins.set(key, [event]);
    else list.push(event);
  }

  #nest(event: InvokeEvent): void {
    const root = rootOf(event.call);
    const list = this.nested.get(root);
    if (list === undefined) this.nested.set(root, [event]);
    else list.push(event);
  }

  #of(call: string): CallRecord {
    let record = this.calls.get(call);
    if (record === undefined) {
      record = { call, invokes: [], settles: [], cancels: [], progress: [], effects: [], faults: new Set() };
      this.calls.set(call, record);
    }
    return record;
  }
}
