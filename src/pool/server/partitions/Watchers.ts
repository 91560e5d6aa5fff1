import type { ServerNotice } from '../../../connection/protocol/messages.js';
import type { SubscriptionFilter } from '../../McpPool.js';
import { methodsOf, UPDATED } from './subscriptionFilter.js';

interface Watcher {
  readonly filter: SubscriptionFilter;
}

/** Who is subscribed to what on one connection: a notification is looked up, however many subscriptions there are. */
export class Watchers<T extends Watcher> {
  readonly #byMethod = new Map<string, Set<T>>();
  readonly #byUri = new Map<unknown, Set<T>>();

  add(watcher: T): void {
    for (const method of methodsOf(watcher.filter)) put(this.#byMethod, method, watcher);
    for (const uri of watcher.filter.resourceUris ?? []) put(this.#byUri, uri, watcher);
  }

  delete(watcher: T): void {
    for (const method of methodsOf(watcher.filter)) take(this.#byMethod, method, watcher);
    for (const uri of watcher.filter.resourceUris ?? []) take(this.#byUri, uri, watcher);
  }

  hasUri(uri: string): boolean {
    return this.#byUri.has(uri);
  }

  /** Those that are to hear of it, as they are now: one may leave while another hears it. */
  of({ method, params }: ServerNotice): readonly T[] {
    const found = method === UPDATED ? this.#byUri.get(params?.['uri']) : this.#byMethod.get(method);
    return found === undefined ? [] : [...found];
  }
}

function put<K, T>(table: Map<K, Set<T>>, key: K, watcher: T): void {
  const there = table.get(key) ?? new Set<T>();
  table.set(key, there.add(watcher));
}

function take<K, T>(table: Map<K, Set<T>>, key: K, watcher: T): void {
  const there = table.get(key);
  there?.delete(watcher);
  if (there?.size === 0) table.delete(key);
}
