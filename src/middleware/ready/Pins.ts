import { createHash } from 'node:crypto';
import { Shares, shareOf } from '../../concurrent/Shares.js';
import { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware } from '../../connection/calls/Middleware.js';
import { forPoolsAlone } from '../../connection/calls/poolsAlone.js';
import { sameNumber, saysAll, withNumbers } from '../../connection/channel/codec/exactText.js';
import { repeatsName } from '../../connection/channel/codec/members.js';
import { checkReadable } from '../../connection/channel/codec/parsingCost.js';
import { listInTurns, relisted, type WrittenList } from '../../connection/channel/large/parsedInTurns.js';
import { systemClock } from '../../core/clock.js';
import { ForbiddenError, ProtocolError, QueueFullError } from '../../core/errors.js';
import { tellListener } from '../../core/events.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkCount, checkPart, withDefaults } from '../../core/options.js';
import { utf8Text } from '../../core/text/utf8Text.js';
import { inSlices } from '../../core/time/inSlices.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { lent } from '../../core/time/within.js';
import { canonical } from '../canonical.js';
import { type HeldTool, HeldTools } from '../HeldTools.js';

/** Hashes of definitions by tool, of each server. Keep them where they outlive the process, if they are to. */
export interface PinStore {
  get(server: string): Promise<Readonly<Record<string, string>> | undefined>;
  set(server: string, pins: Readonly<Record<string, string>>): Promise<void>;
}

export interface PinOptions {
  /** Where pins are kept. @defaultValue in memory: what is seen first in this process is pinned */
  readonly store?: PinStore;
  /** Most tools of one server that are pinned, from 1; a new one beyond them is left out of lists, and calls of it are refused. @defaultValue 10000 */
  readonly maxTools?: number;
  /** Told of each tool that is held back, once for each new definition. @defaultValue it is logged */
  readonly onHeld?: (held: HeldTool) => void;
  /** Where it logs. @defaultValue nowhere */
  readonly logger?: Logger;
}

export const PIN_DEFAULTS = Object.freeze({ maxTools: 10_000 });

/** Bytes of lists that wait for their turn; a principal, or address, has three quarters of them at most. */
const MAX_WAITING_BYTES = 64 * 1_024 * 1_024;

/** A tool of a longer name is left out: names are kept as long as the pins. */
const MAX_NAME_LENGTH = 1_024;

/** A tool of a longer definition is left out, and held back where it is pinned: what it says is compared in four steps, of 20 ms at most. */
const MAX_TOOL_BYTES = 128 * 1_024;
/** A longer one is compared in steps. */
const STEP_BYTES = 16 * 1_024;

/** Why it stands around pools alone. */
const GATEWAY = 'a list of all tools is of no one server there, so that nothing would be pinned. Use it on the pool';

type Tool = Readonly<Record<string, unknown>>;

/**
 * Pins the definition of every tool by its hash when it is seen first. One that changes later, which is how a server that was trusted
 * once turns on its users, is left out of lists, and calls of it are refused with `ERR_FORBIDDEN`, until it is accepted.
 */
export class Pins {
  readonly #store: PinStore;
  readonly #logger: Logger;
  readonly #onHeld: PinOptions['onHeld'];
  readonly #maxTools: number;
  /** Servers that have offered more. */
  readonly #full = new Set<string>();
  readonly #held = new HeldTools();
  /** One look at a server's pins at a time. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #waiting = new Shares(MAX_WAITING_BYTES);

  /** @throws OptionError */
  constructor(given: PinOptions = {}) {
    const others = { store: true, onHeld: true, logger: true } as const;
    const { store, onHeld, maxTools, logger = silentLogger } = withDefaults('Pins', given, PIN_DEFAULTS, others);
    this.#maxTools = checkCount('maxTools', maxTools, { min: 1 });
    if (store !== undefined) checkPart('store', store, ['get', 'set'], 'a PinStore: get() and set()');
    // One look at a time: a store that hangs would hold up all that come after.
    this.#store = store ? lent('the store of pins', store, ['get', 'set'], { clock: systemClock }) : new MemoryPins();
    this.#onHeld = onHeld;
    this.#logger = logger;
  }

  /** What is held back now, each definition once. */
  get held(): readonly HeldTool[] {
    return this.#held.all();
  }

  /** For `use`, on a pool. */
  readonly middleware: Middleware = forPoolsAlone(async (call, next) => {
    const { server } = call;
    if (server === undefined || call.from === 'server') return next();
    const owner = shareOf(call.caller) ?? '';
    const held = call.tool === undefined ? undefined : this.#held.get(server, call.tool, owner);
    if (held !== undefined) {
      throw new ForbiddenError(server, { why: `the definition of ${held.tool} has changed and is not accepted` });
    }
    if (call.tool !== undefined && this.#full.has(server) && !(await this.#isPinned(server, call.tool))) {
      throw new ForbiddenError(server, { why: `the tool is none of the ${this.#maxTools} that are pinned` });
    }
    const result = await next();
    return call.method === 'tools/list' ? this.#checked(server, result, owner) : result;
  }, GATEWAY);

  /** Takes the definition that was offered last for the right one, from the next list on. False when the tool is not held back, or that is too long. */
  async accept(server: string, tool: string): Promise<boolean> {
    const held = this.#held.newest(server, tool);
    // What is never told on must not take the place of what was right before.
    if (held === undefined || held.offered === TOO_LONG) return false;
    await this.#turn(server, async () => {
      await this.#store.set(server, { ...(await this.#store.get(server)), [tool]: held.offered });
      this.#held.accept(held);
    });
    return true;
  }

  /** @throws QueueFullError when too much waits already */
  async #checked(server: string, result: CallResult, owner: string): Promise<CallResult> {
    const { raw } = result;
    if (!(raw instanceof Uint8Array)) return this.#turn(server, () => this.#pinned(server, result, owner));
    checkReadable(server, raw);
    const waiting = this.#waiting;
    const what = 'bytes of lists, to be compared with their pins';
    const full = (): Error => new QueueFullError(what, waiting.taken, waiting.max);
    // As bytes: what they say takes several times as much.
    return waiting.during(owner, raw.length, full, () => this.#turn(server, () => this.#pinned(server, result, owner)));
  }

  async #pinned(server: string, result: CallResult, owner: string): Promise<CallResult> {
    const list = await listInTurns(server, result.bytes, 'tools');
    if (list === undefined) throw new ProtocolError(server, 'its list has no tools');
    const { answer, items, outside } = list;
    // Of a member that comes twice readers take the one or the other: what goes on is what was looked at.
    const anew = repeatsName(outside.toString());
    const { kept, same } = await this.#keep(server, list, owner);
    if (same && !anew) return result;
    if (!(result.raw instanceof Uint8Array)) return CallResult.of({ ...answer, tools: kept.map(([at]) => items[at]) });
    const texts = kept.map(([, text]) => text);
    return inTurnOrNow(() => CallResult.of(relisted(list, 'tools', texts), server));
  }

  /** What is kept, by its place, as it is told on; `same`: all of it is, as it was written. */
  async #keep(
    server: string,
    list: WrittenList,
    owner: string,
  ): Promise<{ readonly kept: readonly (readonly [at: number, text: string])[]; readonly same: boolean }> {
    const pins = (await this.#store.get(server)) ?? {};
    const added: Record<string, string> = Object.create(null);
    const held = this.#held.of(server, owner);
    const kept: [number, string][] = [];
    let left = this.#maxTools - Object.keys(pins).length;
    let same = true;
    const offers = offersOf(list);
    await inSlices(() => {
      const { value: offer, done } = offers.next();
      if (done === true) return true;
      if (offer === undefined) return false;
      const { at, name, text, isAsWritten, offered = TOO_LONG } = offer;
      same &&= isAsWritten;
      if (name === undefined) {
        kept.push([at, text]);
        return false;
      }
      const pinned = Object.hasOwn(pins, name) ? pins[name] : added[name];
      const isTooLong = offered === TOO_LONG;
      if (pinned === undefined && (left <= 0 || name.length > MAX_NAME_LENGTH || isTooLong)) {
        this.#isFull(server);
        same = false;
        return false;
      }
      if (pinned === undefined) {
        added[name] = offered;
        left--;
      }
      if ((pinned === undefined || pinned === offered) && !isTooLong) {
        held.delete(name);
        kept.push([at, text]);
        return false;
      }
      same = false;
      const each = { server, tool: name, pinned: pinned ?? '', offered };
      if (!this.#held.has(each)) this.#tell(each);
      held.set(name, each);
      return false;
    }, 1);
    if (Object.keys(added).length > 0) await this.#store.set(server, { ...pins, ...added });
    return { kept, same };
  }

  async #isPinned(server: string, tool: string): Promise<boolean> {
    return Object.hasOwn((await this.#store.get(server)) ?? {}, tool);
  }

  #isFull(server: string): void {
    if (this.#full.has(server)) return;
    this.#full.add(server);
    const maxTools = this.#maxTools;
    this.#logger.warn(
      { server, maxTools },
      'tools are left out: beyond maxTools, or with names of more than 1024 characters or definitions of more than 128 KiB',
    );
  }

  #tell(held: HeldTool): void {
    if (this.#onHeld === undefined)
      this.#logger.warn({ ...held }, 'the definition of a tool has changed: it is held back');
    else tellListener(this.#onHeld, held, (error) => this.#logger.error({ error }, 'a listener for held tools failed'));
  }

  #turn<T>(server: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(server) ?? Promise.resolve()).then(work);
    const settled = turn.catch(() => undefined);
    this.#turns.set(server, settled);
    return turn;
  }
}

class MemoryPins implements PinStore {
  readonly #pins = new Map<string, Readonly<Record<string, string>>>();

  async get(server: string): Promise<Readonly<Record<string, string>> | undefined> {
    return this.#pins.get(server);
  }

  async set(server: string, pins: Readonly<Record<string, string>>): Promise<void> {
    this.#pins.set(server, pins);
  }
}

/** Stands for the hash of a definition of more than `MAX_TOOL_BYTES`. */
const TOO_LONG = 'too long';

/** One tool of a list. */
interface Offer {
  readonly at: number;
  /** Undefined for what is no tool. */
  readonly name: string | undefined;
  /** As it is told on. */
  readonly text: string;
  readonly isAsWritten: boolean;
  /** The hash of its definition; undefined where that is too long. */
  readonly offered?: string;
}

/** Each tool in its order, and undefined between two steps of a long one. */
function* offersOf({ items, texts }: WrittenList): Generator<Offer | undefined> {
  for (const [at, tool] of items.entries()) {
    const bytes = texts[at] ?? Buffer.from(JSON.stringify(tool));
    const name = (tool as Tool | null)?.['name'];
    const text = utf8Text(bytes);
    if (typeof name !== 'string') {
      yield { at, name: undefined, text, isAsWritten: true };
      continue;
    }
    if (bytes.length > MAX_TOOL_BYTES) {
      yield { at, name, text: '', isAsWritten: false };
      continue;
    }
    if (bytes.length > STEP_BYTES) yield undefined;
    if (repeatsName(text)) {
      yield { at, name, text: JSON.stringify(tool), isAsWritten: false, offered: definitionHash(tool as Tool) };
      continue;
    }
    const isExact = saysAll(tool, text, sameNumber);
    if (bytes.length > STEP_BYTES) yield undefined;
    const exact = isExact ? undefined : withNumbersAsWritten(text);
    if (bytes.length > STEP_BYTES) yield undefined;
    yield { at, name, text, isAsWritten: true, offered: definitionHash(tool as Tool, exact) };
  }
}

/** Of all that a definition says, whatever the order of its members; `exact`: with its numbers as they were written. */
function definitionHash(tool: Tool, exact?: unknown): string {
  const text = canonical(tool);
  const own = exact === undefined ? text : canonical(exact);
  return createHash('sha256')
    .update(own === text ? text : `${text} as written ${own}`)
    .digest('base64url');
}

/** A definition with each number that a double does not hold as the text of it. */
function withNumbersAsWritten(text: string): unknown {
  return JSON.parse(
    withNumbers(text, (number) => (sameNumber(String(Number(number)), number) ? number : `"${number}"`)),
  );
}
