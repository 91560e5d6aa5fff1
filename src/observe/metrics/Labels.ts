/** What stands for every value beyond the bound. */
export const OTHER = 'other';

/** Methods that have a label of their own: those of the protocol. What a client makes up is `other`. */
const METHODS: ReadonlySet<string> = new Set([
  'completion/complete',
  'initialize',
  'logging/setLevel',
  'ping',
  'prompts/get',
  'prompts/list',
  'resources/list',
  'resources/read',
  'resources/subscribe',
  'resources/templates/list',
  'resources/unsubscribe',
  'server/discover',
  'subscriptions/listen',
  'tools/call',
  'tools/list',
]);

export const methodLabel = (method: string): string => (METHODS.has(method) ? method : OTHER);

/** As long as the name of a tool may be. */
const MAX_CHARS = 128;

/**
 * Values that a label may have: those of an allow-list; without one the first `max` that come. The rest is `other`, so that no
 * client can make series without end, nor long ones. Clients may make names of tools up: those of which no call went well so far get no
 * more than half of the places.
 */
export class BoundedLabel {
  readonly #allowed: Set<string>;
  readonly #max: number;
  #doubtful = 0;

  constructor(allowed: readonly string[] | undefined, max: number) {
    this.#allowed = new Set(allowed);
    this.#max = allowed === undefined ? max : 0;
  }

  /** `outcome`: what the call that names it came to. */
  of(value: string, outcome: string | undefined = 'ok'): string {
    if (this.#allowed.has(value)) return value;
    if (this.#allowed.size >= this.#max || value.length > MAX_CHARS) return OTHER;
    if (outcome !== 'ok' && ++this.#doubtful > this.#max / 2) return OTHER;
    this.#allowed.add(value);
    return value;
  }
}
