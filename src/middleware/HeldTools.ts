/** A tool whose definition is another than the pinned one. */
export interface HeldTool {
  readonly server: string;
  readonly tool: string;
  readonly pinned: string;
  readonly offered: string;
}

/** Whose lists are remembered of one server. */
const MAX_OWNERS = 1_000;
/** Tools that are held back of one server when another list of it comes, over all owners. */
const MAX_HELD = 20_000;

/**
 * What is held back of each server's tools, for each whose lists had it: a definition may depend on who asks, and what one is offered is no
 * reason to refuse what others were. One who was offered nothing yet is refused what is held back for anyone.
 */
export class HeldTools {
  readonly #servers = new Map<string, Map<string, Map<string, HeldTool>>>();
  /** What was held back for owners who made room: it stays so for those who were offered nothing, as they are by now. */
  readonly #left = new Map<string, Map<string, HeldTool>>();

  /** What is held back for `owner`, to be changed by what a list of its has; the least recently listed owner makes room. */
  of(server: string, owner: string): Map<string, HeldTool> {
    const owners = this.#servers.get(server) ?? new Map<string, Map<string, HeldTool>>();
    this.#servers.set(server, owners);
    const held = owners.get(owner) ?? new Map<string, HeldTool>();
    owners.delete(owner);
    owners.set(owner, held);
    let count = 0;
    for (const each of owners.values()) count += each.size;
    for (const [oldest, each] of owners) {
      if (each === held || (owners.size <= MAX_OWNERS && count <= MAX_HELD)) break;
      owners.delete(oldest);
      count -= each.size;
      this.#leave(server, each);
    }
    return held;
  }

  #leave(server: string, held: ReadonlyMap<string, HeldTool>): void {
    const left = this.#left.get(server) ?? new Map<string, HeldTool>();
    this.#left.set(server, left);
    for (const [tool, each] of held) {
      left.delete(tool);
      left.set(tool, each);
    }
    for (const tool of left.keys()) {
      if (left.size <= MAX_HELD) break;
      left.delete(tool);
    }
  }

  /** For each owner of that server, and for those who made room. */
  *#all(server: string): Iterable<Map<string, HeldTool>> {
    const left = this.#left.get(server);
    if (left !== undefined) yield left;
    yield* this.#servers.get(server)?.values() ?? [];
  }

  get(server: string, tool: string, owner: string): HeldTool | undefined {
    const own = this.#servers.get(server)?.get(owner);
    if (own !== undefined) return own.get(tool);
    return this.newest(server, tool) ?? this.#left.get(server)?.get(tool);
  }

  /** What was offered last of those who are remembered: what others had may be offered no more. */
  newest(server: string, tool: string): HeldTool | undefined {
    let newest: HeldTool | undefined;
    for (const held of this.#servers.get(server)?.values() ?? []) newest = held.get(tool) ?? newest;
    return newest;
  }

  has({ server, tool, offered }: HeldTool): boolean {
    for (const held of this.#all(server)) if (held.get(tool)?.offered === offered) return true;
    return false;
  }

  accept({ server, tool, offered }: HeldTool): void {
    for (const held of this.#all(server)) if (held.get(tool)?.offered === offered) held.delete(tool);
  }

  all(): HeldTool[] {
    const found = new Map<string, HeldTool>();
    for (const owners of this.#servers.values()) {
      for (const held of owners.values()) {
        for (const each of held.values()) found.set(JSON.stringify([each.server, each.tool, each.offered]), each);
      }
    }
    return [...found.values()];
  }
}
