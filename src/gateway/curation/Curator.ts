import type { Tool } from '@modelcontextprotocol/client';
import type { Params } from '../../connection/protocol/messages.js';
import { objectOf } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { passes } from '../../core/text/matches.js';
import type { Curation, ToolGroup, ToolRules } from '../../registry/config/curation/Curation.js';
import { exposedName, prefixIn, prefixOf, SEPARATOR } from '../aggregate/lists/exposedNames.js';
import { foldedName } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { argumentsOf } from './searchedCall.js';

interface Named {
  readonly name: string;
}

/** What a client may not set of a tool's arguments, and what they are instead. */
interface Arguments {
  readonly fixed: Readonly<Record<string, unknown>>;
  readonly hidden: ReadonlySet<string>;
}

/**
 * What clients see of tools and prompts, and under which names. A name comes from the config and the item's own name, and from
 * nothing else: it is the same, whichever servers are up. A tool that another one's new name hides stays hidden, up or not.
 */
export class Curator {
  readonly #rules: Readonly<Record<string, ToolRules>>;
  readonly #group: ToolGroup;
  readonly #separator: string;
  /** Names without a prefix, with the tool that each is. */
  readonly #plain: ReadonlyMap<string, { readonly server: string; readonly own: string }>;
  readonly #shown = new WeakMap<object, unknown>();

  constructor({ servers = {}, prefix = 'server__tool' }: Curation, group: ToolGroup = {}) {
    this.#rules = servers;
    this.#group = group;
    this.#separator = prefix === 'server.tool' ? '.' : SEPARATOR;
    this.#plain = prefix === 'none' ? plainNames(servers) : new Map();
  }

  /** Whether a server is in the group. */
  holds(server: string): boolean {
    return this.#group.servers?.includes(server) ?? true;
  }

  /** A prompt's name for clients. */
  promptName(server: string, own: string): string {
    return exposedName(prefixOf(server), own, this.#separator);
  }

  /** A tool's name for clients; undefined for one that they are not shown. */
  toolName(server: string, own: string): string | undefined {
    const rules = this.#rulesOf(server);
    if (!passes(own, rules)) return undefined;
    const renamed = ownOf(rules.rename, own);
    if (renamed === undefined && Object.values(rules.rename ?? {}).includes(own)) return undefined;
    const name = renamed ?? own;
    const plain = this.#plain.get(name);
    const unprefixed = plain?.server === server && plain.own === own;
    const exposed = unprefixed ? name : exposedName(prefixOf(server), name, this.#separator);
    return passes(exposed, this.#group) ? exposed : undefined;
  }

  /** A tool as clients see it. */
  tool<T extends Named>(server: string, item: T, exposed: string): T {
    const known = this.#shown.get(item);
    if (known !== undefined) return known as T;
    const { describe } = this.#rulesOf(server);
    const description = ownOf(describe, item.name);
    const shown = {
      ...this.#withArguments(server, item),
      name: exposed,
      ...(description === undefined ? {} : { description }),
    };
    this.#shown.set(item, shown);
    return shown;
  }

  /** Whose tool or prompt may have that name, of those servers. */
  serverOf(exposed: string, servers: readonly string[]): string | undefined {
    const plain = this.#plain.get(exposed)?.server;
    if (plain !== undefined) return servers.includes(plain) ? plain : undefined;
    const prefix = prefixIn(exposed, this.#separator);
    return prefix === undefined ? undefined : servers.find((each) => prefixOf(each) === prefix);
  }

  /** What is put into a call's arguments. @throws Refusal for arguments that are no object, or not the client's to set */
  fixedFor(server: string, own: string, params: Params | undefined): Readonly<Record<string, unknown>> | undefined {
    const { fixed, hidden } = this.#argumentsOf(server, own);
    if (hidden.size === 0) return undefined;
    const args = argumentsOf(params?.['arguments']);
    // A server may read an argument under its name in other letters.
    const names = new Set(Object.keys(args).map(foldedName));
    const foreign = [...hidden].find((name) => names.has(foldedName(name)));
    if (foreign !== undefined)
      throw new Refusal(RPC_CODES.invalidParams, `argument ${foreign} is not to be given here`);
    return Object.keys(fixed).length === 0 ? undefined : fixed;
  }

  #rulesOf(server: string): ToolRules {
    return ownOf(this.#rules, server) ?? {};
  }

  #argumentsOf(server: string, own: string): Arguments {
    const rules = this.#rulesOf(server);
    const fixed = ownOf(rules.fixed, own) ?? {};
    return { fixed, hidden: new Set([...Object.keys(fixed), ...(ownOf(rules.hide, own) ?? [])]) };
  }

  #withArguments<T extends Named>(server: string, item: T): T {
    const { hidden } = this.#argumentsOf(server, item.name);
    const { inputSchema } = item as unknown as Tool;
    if (hidden.size === 0 || inputSchema === undefined) return item;
    const { properties, required } = inputSchema;
    const visible = Object.fromEntries(Object.entries(objectOf(properties)).filter(([name]) => !hidden.has(name)));
    const needed = Array.isArray(required) ? required.filter((name) => !hidden.has(name)) : required;
    return {
      ...item,
      inputSchema: { ...inputSchema, properties: visible, ...(needed === undefined ? {} : { required: needed }) },
    };
  }
}

/** Names that the rules of exactly one server spell out: whether another server has one like it is not asked. */
function plainNames(servers: Readonly<Record<string, ToolRules>>): Map<string, { server: string; own: string }> {
  const found = new Map<string, { server: string; own: string }>();
  const taken = new Set<string>();
  for (const [server, rules] of Object.entries(servers)) {
    const { allow = [], rename = {} } = rules;
    const spelled = new Set([...allow.filter((name) => !name.includes('*')), ...Object.keys(rename)]);
    for (const own of spelled) {
      const name = ownOf(rename, own) ?? own;
      if (!passes(own, rules) || !/^[A-Za-z0-9_.-]{1,128}$/.test(name) || name.includes(SEPARATOR)) continue;
      if (found.has(name)) taken.add(name);
      found.set(name, { server, own });
    }
  }
  for (const name of taken) found.delete(name);
  return found;
}

/** Names are servers' and tools' to choose: `constructor` is one like any other. */
function ownOf<T>(table: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return table !== undefined && Object.hasOwn(table, key) ? table[key] : undefined;
}
