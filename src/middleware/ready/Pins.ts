import { createHash } from 'node:crypto';
import { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware } from '../../connection/calls/Middleware.js';
import { saysAll } from '../../connection/channel/codec/exactText.js';
import { checkReadable } from '../../connection/channel/codec/parsingCost.js';
import { ForbiddenError } from '../../core/errors.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkPart, withDefaults } from '../../core/options.js';
import { canonical } from '../canonical.js';

/** Hashes of definitions by tool, of each server. Keep them where they outlive the process, if they are to. */
export interface PinStore {
  get(server: string): Promise<Readonly<Record<string, string>> | undefined>;
  set(server: string, pins: Readonly<Record<string, string>>): Promise<void>;
}

/** A tool whose definition is another than the pinned one. */
export interface HeldTool {
  readonly server: string;
  readonly tool: string;
  readonly pinned: string;
  readonly offered: string;
}

export interface PinOptions {
  /** Where pins are kept. @defaultValue in memory: what is seen first in this process is pinned */
  readonly store?: PinStore;
  /** Told of each tool that is held back, once for each new definition. @defaultValue it is logged */
  readonly onHeld?: (held: HeldTool) => void;
  /** Where it logs. @defaultValue nowhere */
  readonly logger?: Logger;
}

type Tool = Readonly<Record<string, unknown>>;

/**
 * Pins the definition of every tool by its hash when it is seen first. One that changes later, which is how a server that was trusted
 * once turns on its users, is left out of lists, and calls of it are refused with `ERR_FORBIDDEN`, until it is accepted.
 */
export class Pins {
  readonly #store: PinStore;
  readonly #logger: Logger;
  readonly #onHeld: PinOptions['onHeld'];
  readonly #held = new Map<string, Map<string, HeldTool>>();
  /** One look at a server's pins at a time. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /** @throws OptionError */
  constructor(given: PinOptions = {}) {
    const others = { store: true, onHeld: true, logger: true } as const;
    const { store, onHeld, logger = silentLogger } = withDefaults('Pins', given, {}, others);
    this.#store = checkPart('store', store ?? new MemoryPins(), ['get', 'set'], 'a PinStore: get() and set()');
    this.#onHeld = onHeld;
    this.#logger = logger;
  }

  /** What is held back now. */
  get held(): readonly HeldTool[] {
    return [...this.#held.values()].flatMap((tools) => [...tools.values()]);
  }

  /** For `use`, on a pool, or on a gateway for its `/servers/:name/mcp`. */
  readonly middleware: Middleware = async (call, next) => {
    const { server } = call;
    if (server === undefined || call.from === 'server') return next();
    const held = call.tool === undefined ? undefined : this.#held.get(server)?.get(call.tool);
    if (held !== undefined) {
      throw new ForbiddenError(server, { why: `the definition of ${held.tool} has changed and is not accepted` });
    }
    const result = await next();
    return call.method === 'tools/list' ? this.#checked(server, result) : result;
  };

  /** Takes the definition that is offered now for the right one, from the next list on. False when the tool is not held back. */
  async accept(server: string, tool: string): Promise<boolean> {
    const held = this.#held.get(server)?.get(tool);
    if (held === undefined) return false;
    await this.#turn(server, async () => {
      await this.#store.set(server, { ...(await this.#store.get(server)), [tool]: held.offered });
      this.#held.get(server)?.delete(tool);
    });
    return true;
  }

  async #checked(server: string, result: CallResult): Promise<CallResult> {
    if (result.raw instanceof Uint8Array) checkReadable(server, result.raw);
    const list = result.value as { readonly tools?: unknown };
    if (!Array.isArray(list?.tools)) return result;
    const tools = list.tools as readonly unknown[];
    const kept = await this.#turn(server, () => this.#keep(server, tools));
    // Of a member that comes twice readers take the one or the other: what goes on is what was looked at.
    if (!saysAll(list, result.text, () => true)) return CallResult.of({ ...list, tools: kept });
    return kept.length === tools.length ? result : result.with({ ...list, tools: kept });
  }

  async #keep(server: string, tools: readonly unknown[]): Promise<readonly unknown[]> {
    const pins: Record<string, string> = Object.assign(Object.create(null), await this.#store.get(server));
    const held = this.#held.get(server) ?? new Map<string, HeldTool>();
    this.#held.set(server, held);
    let fresh = false;
    const kept = tools.filter((tool) => {
      const name = (tool as Tool | null)?.['name'];
      if (typeof name !== 'string') return true;
      const offered = definitionHash(tool as Tool);
      const pinned = pins[name];
      if (pinned === undefined) {
        pins[name] = offered;
        fresh = true;
      }
      if (pinned === undefined || pinned === offered) {
        held.delete(name);
        return true;
      }
      if (held.get(name)?.offered !== offered) this.#tell({ server, tool: name, pinned, offered });
      held.set(name, { server, tool: name, pinned, offered });
      return false;
    });
    if (fresh) await this.#store.set(server, { ...pins });
    return kept;
  }

  #tell(held: HeldTool): void {
    if (this.#onHeld === undefined)
      this.#logger.warn({ ...held }, 'the definition of a tool has changed: it is held back');
    else {
      try {
        this.#onHeld(held);
      } catch (error) {
        this.#logger.error({ error }, 'a listener for held tools failed');
      }
    }
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

/** Of all that a definition says, whatever the order of its members. */
function definitionHash(tool: Tool): string {
  return createHash('sha256').update(canonical(tool)).digest('base64url');
}
