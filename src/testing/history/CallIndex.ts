import { entryOf } from './entryOf.js';
import { firstAbove } from './firstAbove.js';
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
import { Spans } from './Spans.js';

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

/** What a server began in one session: the last of it after some moment is found in log n steps. */
class Begins {
  readonly #all: EffectEvent[] = [];
  /** Those that all behind them come before, by the clocks, from the last one on. */
  #latest: { readonly events: readonly EffectEvent[]; readonly atMs: readonly number[] } | undefined;

  add(event: EffectEvent): void {
    this.#all.push(event);
  }

  lastAfter(afterMs: number): EffectEvent | undefined {
    this.#latest ??= this.#sift();
    return this.#latest.events[firstAbove(this.#latest.atMs, afterMs)];
  }

  #sift() {
    const events: EffectEvent[] = [];
    const atMs: number[] = [];
    for (const event of this.#all.toReversed()) {
      if (event.atMs <= (atMs.at(-1) ?? Number.NEGATIVE_INFINITY)) continue;
      events.push(event);
      atMs.push(event.atMs);
    }
    return { events, atMs };
  }
}

/**
 * A history by call, and by place: what the rules read. Made in one pass; each question takes log n steps, since a history may have
 * a million events, and be full of what is asked about.
 */
export class CallIndex {
  readonly events: readonly HistoryEvent[];
  readonly calls = new Map<string, CallRecord>();
  /** Where each event stands: "before" means in the history, whatever the clocks say. */
  readonly places = new Map<HistoryEvent, number>();
  readonly ended: boolean;
  /** The first call that each part of a gateway's own made for another, by that other's name and the part. */
  readonly #nested = new Map<string, Map<string | undefined, InvokeEvent>>();
  readonly #withheld: Spans;
  /** When servers took no connections, by server, in rising order. */
  readonly #refusals = new Map<string, number[]>();
  readonly #begins = new Map<string, Begins>();
  /** Servers that tell whose call an effect is. */
  readonly reporting = new Set<string>();

  constructor(events: readonly HistoryEvent[]) {
    this.events = events;
    let ended = false;
    const withheld: WithheldEvent[] = [];
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
          withheld.push(event);
          break;
        case 'end':
          ended = true;
          break;
        default:
      }
    });
    this.ended = ended;
    for (const atMs of this.#refusals.values()) atMs.sort((a, b) => a - b);
    // Those of several processes overlap: what two of them lacked is counted once.
    this.#withheld = new Spans(withheld.map(({ atMs, ms }) => ({ fromMs: atMs - ms, untilMs: atMs })));
  }

  placeOf(event: HistoryEvent): number {
    return this.places.get(event) ?? -1;
  }

  /** How much of the time between two moments the machine withheld from those that act, in ms. */
  withheldMs(fromMs: number, untilMs: number): number {
    return this.#withheld.within(fromMs, untilMs);
  }

  /** Whether a server began to refuse and reset all connections between two moments: no message reached it then. */
  refusedBetween(server: string, fromMs: number, untilMs: number): boolean {
    const refusals = this.#refusals.get(server) ?? [];
    const last = refusals[firstAbove(refusals, untilMs) - 1];
    return last !== undefined && last >= fromMs;
  }

  /** The last thing that a server began in one session after some moment. */
  lastBegun({ server, pid, session }: EffectEvent, afterMs: number): EffectEvent | undefined {
    return this.#begins.get(`${server} ${pid} ${session}`)?.lastAfter(afterMs);
  }

  /** The call that a part of a gateway made for another. */
  nestedIn(root: string, part: string): InvokeEvent | undefined {
    return this.#nested.get(root)?.get(part);
  }

  #refused(server: string, atMs: number): void {
    entryOf(this.#refusals, server, () => [] as number[]).push(atMs);
  }

  #begun(event: EffectEvent): void {
    const { server, pid, session } = event;
    if (pid === undefined || session === undefined) return;
    const key = `${server} ${pid} ${session}`;
    entryOf(this.#begins, key, () => new Begins()).add(event);
  }

  #nest(event: InvokeEvent): void {
    const root = rootOf(event.call);
    const parts = entryOf(this.#nested, root, () => new Map<string | undefined, InvokeEvent>());
    if (!parts.has(event.part)) parts.set(event.part, event);
  }

  #of(call: string): CallRecord {
    return entryOf(this.calls, call, () => ({
      call,
      invokes: [],
      settles: [],
      cancels: [],
      progress: [],
      effects: [],
      faults: new Set<string>(),
    }));
  }
}
