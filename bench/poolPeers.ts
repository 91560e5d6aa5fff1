import { Sema } from 'async-sema';
import { createPool } from 'generic-pool';
import { createPool as createLightningPool } from 'lightning-pool';
import { Pool as TarnPool } from 'tarn';

export interface Thing {
  uses: number;
}

export const RESOURCES = 10;

/** A factory that knows how often its things were used: every run proves that it did what it was timed for. */
export function factory() {
  const things: Thing[] = [];
  const create = (): Thing => {
    const thing = { uses: 0 };
    things.push(thing);
    return thing;
  };
  return { create, uses: () => things.reduce((sum, { uses }) => sum + uses, 0) };
}

/** One rival: how to do it once, and in a loop of its own so that nobody's call sites slow another's. */
export interface Rival {
  readonly name: string;
  readonly loop: (n: number) => Promise<void>;
  readonly once: () => Promise<void>;
  readonly uses: () => number;
  readonly close: () => Promise<unknown>;
}

export async function genericPool(): Promise<Rival> {
  const { create, uses } = factory();
  const pool = createPool<Thing>({ create: async () => create(), destroy: async () => undefined }, { max: RESOURCES });
  const once = async (): Promise<void> => {
    const thing = await pool.acquire();
    thing.uses++;
    void pool.release(thing);
  };
  const loop = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) {
      const thing = await pool.acquire();
      thing.uses++;
      void pool.release(thing);
    }
  };
  await Promise.all(Array.from({ length: RESOURCES }, once));
  return { name: 'generic-pool', once, loop, uses, close: () => pool.drain().then(() => pool.clear()) };
}

export async function tarn(): Promise<Rival> {
  const { create, uses } = factory();
  const pool = new TarnPool<Thing>({
    create: async () => create(),
    destroy: () => undefined,
    min: 0,
    max: RESOURCES,
    acquireTimeoutMillis: 600_000,
  });
  const once = async (): Promise<void> => {
    const thing = await pool.acquire().promise;
    thing.uses++;
    pool.release(thing);
  };
  const loop = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) {
      const thing = await pool.acquire().promise;
      thing.uses++;
      pool.release(thing);
    }
  };
  await Promise.all(Array.from({ length: RESOURCES }, once));
  return { name: 'tarn', once, loop, uses, close: () => pool.destroy() };
}

export async function lightning(): Promise<Rival> {
  const { create, uses } = factory();
  const pool = createLightningPool<Thing>(
    { create: async () => create(), destroy: async () => undefined },
    { max: RESOURCES, maxQueue: 10_000_000 },
  );
  const once = async (): Promise<void> => {
    const thing = await pool.acquire();
    thing.uses++;
    pool.release(thing);
  };
  const loop = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) {
      const thing = await pool.acquire();
      thing.uses++;
      pool.release(thing);
    }
  };
  await Promise.all(Array.from({ length: RESOURCES }, once));
  return { name: 'lightning-pool', once, loop, uses, close: () => pool.closeAsync() };
}

export function asyncSema(): Rival {
  const sema = new Sema(RESOURCES);
  const thing = { uses: 0 };
  const once = async (): Promise<void> => {
    await sema.acquire();
    thing.uses++;
    sema.release();
  };
  const loop = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) {
      await sema.acquire();
      thing.uses++;
      sema.release();
    }
  };
  return { name: 'async-sema, no resources', once, loop, uses: () => thing.uses, close: async () => undefined };
}

/** No pool at all: an array, and one `await`. */
export function floor(): Rival {
  const things = Array.from({ length: RESOURCES }, () => ({ uses: 0 }));
  const idle = [...things];
  const loop = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) {
      const thing = (await idle.pop()) as Thing;
      thing.uses++;
      idle.push(thing);
    }
  };
  const uses = (): number => things.reduce((sum, thing) => sum + thing.uses, 0);
  return { name: 'floor: an array, one await', once: () => loop(1), loop, uses, close: async () => undefined };
}
