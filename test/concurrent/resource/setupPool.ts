import { type Lease, ResourcePool, type ResourcePoolOptions } from '../../../src/pool/index.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

export interface Thing {
  readonly id: number;
}

/** A pool on a fake clock over a factory that writes down what it is asked. Each function can be replaced. */
export function setupPool(options: ResourcePoolOptions = {}, hooks: { readonly reset?: true } = {}) {
  const clock = new FakeClock();
  const log = {
    created: [] as Thing[],
    destroyed: [] as Thing[],
    reasons: [] as string[],
    signals: [] as AbortSignal[],
  };
  const make = (): Thing => {
    const thing = { id: log.created.length };
    log.created.push(thing);
    return thing;
  };
  const factory = {
    create: (signal: AbortSignal): Thing | PromiseLike<Thing> => {
      log.signals.push(signal);
      return make();
    },
    destroy: (_thing: Thing): unknown => undefined,
    validate: (_thing: Thing): boolean | PromiseLike<boolean> => true,
    reset: (_thing: Thing): unknown => undefined,
  };
  const pool = new ResourcePool<Thing>(
    {
      create: ({ signal }) => factory.create(signal),
      destroy: (thing, { reason }) => {
        log.destroyed.push(thing);
        log.reasons.push(reason);
        return factory.destroy(thing);
      },
      validate: (thing) => factory.validate(thing),
      ...(hooks.reset && { reset: (thing: Thing) => factory.reset(thing) }),
    },
    { clock, random: () => 0, ...options },
  );
  const events: string[] = [];
  for (const name of ['created', 'createFailed', 'parked', 'destroyed', 'leaked', 'exhausted'] as const) {
    pool.on(name, () => void events.push(name));
  }
  return { clock, pool, factory, make, log, events };
}

/** What a promise came to: its value or its error, whichever. */
export const outcome = <T>(promise: Promise<T>): Promise<unknown> => promise.catch((error: unknown) => error);

export const take = (pool: ResourcePool<Thing>): Lease<Thing> => {
  const lease = pool.tryAcquire();
  if (lease === undefined) throw new Error('nothing free');
  return lease;
};

/** A promise and its ends. */
export function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
