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

/**
 * Values that a label may have: those of an allow-list; without one the first `max` that come. The rest is `other`, so that no
 * client can make series without end.
 */
export class BoundedLabel {
  readonly #allowed: Set<string>;
  readonly #max: number;

  constructor(allowed: readonly string[] | undefined, max: number) {
    this.#allowed = new Set(allowed);
    this.#max = allowed === undefined ? max : 0;
  }

  of(value: string): string {
    if (this.#allowed.has(value)) return value;
    if (this.#allowed.size >= this.#max) return OTHER;
    this.#allowed.add(value);
    return value;
  }
}
