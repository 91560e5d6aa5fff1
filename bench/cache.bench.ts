import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FlatCache } from 'flat-cache';
import Keyv from 'keyv';
import { KeyvFile } from 'keyv-file';
import { FileCache } from '../src/toolstore/FileCache.js';
import type { Bench } from './harness.js';

/** cacache brings no types. */
const cacache = createRequire(import.meta.url)('cacache') as {
  put(cache: string, key: string, data: string, options?: { memoize?: boolean }): Promise<unknown>;
  get(cache: string, key: string, options?: { memoize?: boolean }): Promise<{ data: Buffer }>;
};

/** A tool list as servers send them: 30 tools, 25 KB. */
const TOOLS = Array.from({ length: 30 }, (_, i) => ({
  name: `tool_${i}`,
  title: `Tool number ${i}`,
  description: 'Does one of the things that tools do, and says so at some length. '.repeat(3),
  inputSchema: {
    type: 'object',
    properties: Object.fromEntries(
      Array.from({ length: 6 }, (_, j) => [
        `argument${j}`,
        { type: 'string', description: `argument ${j} of it`, enum: ['a', 'b'] },
      ]),
    ),
    required: ['argument0', 'argument1'],
  },
}));
const TEXT = JSON.stringify(TOOLS);
const KEYS = Array.from({ length: 50 }, (_, i) => `key${i}`);
const keyAt = (i: number): string => KEYS[i % KEYS.length] ?? '';

type List = readonly { readonly name: string }[];

function check(list: List | undefined): void {
  if (list?.length !== TOOLS.length || list[29]?.name !== 'tool_29') throw new Error('not the list that was stored');
}

const each = (run: (i: number) => Promise<List | undefined>) => async (operations: number) => {
  for (let i = 0; i < operations; i++) check(await run(i));
};

const timed = (run: (i: number) => Promise<unknown>) => async (operations: number) => {
  for (let i = 0; i < operations; i++) await run(i);
};

export async function suite(bench: Bench): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-bench-'));
  const at = (name: string): string => join(folder, name);
  const hot = new FileCache({ directory: at('ours'), fsync: false });
  // One place in memory, fifty keys: each get goes to the disk.
  const cold = new FileCache({ directory: at('ours'), fsync: false, maxEntries: 1 });
  const synced = new FileCache({ directory: at('synced') });
  const keyv = new Keyv({ store: new KeyvFile({ filename: at('keyv.json'), writeDelay: 0 }) });
  const flat = new FlatCache({ cacheDir: at('flat'), cacheId: 'one' });
  try {
    for (const key of KEYS) {
      await hot.set(key, TOOLS);
      await writeFile(at(`${key}.json`), TEXT);
      await cacache.put(at('cacache'), key, TEXT);
      await cacache.put(at('memoized'), key, TEXT, { memoize: true });
    }
    await keyv.set('key0', TOOLS);
    flat.set('key0', TOOLS);
    flat.save(true);
    await hot.setTools('server', TOOLS as never);

    const hotGet = await bench.race(
      'hot get of a 25 KB tool list',
      [
        { name: 'FileCache.get', run: each((i) => hot.get<List>(keyAt(i))) },
        { name: 'FileCache.getTools', run: each(() => hot.getTools('server')) },
        {
          name: 'cacache',
          operations: 200,
          run: each(async (i) => JSON.parse(String((await cacache.get(at('cacache'), keyAt(i))).data))),
        },
        {
          name: 'cacache, memoized, not parsed',
          operations: 20_000,
          run: timed(async (i) => {
            if ((await cacache.get(at('memoized'), keyAt(i), { memoize: true })).data.length !== TEXT.length)
              throw new Error();
          }),
        },
        { name: 'keyv + keyv-file', operations: 2_000, run: each(async () => keyv.get<List>('key0')) },
        { name: 'flat-cache', operations: 20_000, run: each(async () => flat.get<List>('key0')) },
      ],
      { operations: 100_000 },
    );
    bench.target(
      "hot get, cacache's time over ours",
      hotGet('cacache').medianNs / hotGet('FileCache.get').medianNs,
      '>=',
      100,
    );

    const coldGet = await bench.race(
      'cold get of a 25 KB tool list, parsed',
      [
        {
          name: 'readFile + JSON.parse',
          run: each(async (i) => JSON.parse(await readFile(at(`${keyAt(i)}.json`), 'utf8'))),
        },
        { name: 'FileCache', run: each((i) => cold.get<List>(keyAt(i))) },
        {
          name: 'cacache',
          operations: 200,
          run: each(async (i) => JSON.parse(String((await cacache.get(at('cacache'), keyAt(i))).data))),
        },
        {
          name: 'keyv + keyv-file, one key',
          operations: 200,
          run: each(async () =>
            new Keyv({ store: new KeyvFile({ filename: at('keyv.json'), writeDelay: 0 }) }).get<List>('key0'),
          ),
        },
        {
          name: 'flat-cache, one key',
          operations: 200,
          run: each(async () => {
            const again = new FlatCache({ cacheDir: at('flat'), cacheId: 'one' });
            again.load();
            return again.get<List>('key0');
          }),
        },
      ],
      { operations: 1_500 },
    );
    bench.target(
      'cold get over bare',
      coldGet('FileCache').medianNs / coldGet('readFile + JSON.parse').medianNs,
      '<=',
      1.3,
    );

    const set = await bench.race(
      'set of a 25 KB tool list',
      [
        { name: 'FileCache, fsync: false', run: timed((i) => hot.set(keyAt(i), TOOLS)) },
        { name: 'FileCache, fsync: true', run: timed((i) => synced.set(keyAt(i), TOOLS)) },
        { name: 'cacache', run: timed((i) => cacache.put(at('cacache'), keyAt(i), JSON.stringify(TOOLS))) },
        { name: 'keyv + keyv-file, one key', run: timed(() => keyv.set('key0', TOOLS)) },
        {
          name: 'flat-cache, one key, save',
          run: timed(async () => {
            flat.set('key0', TOOLS);
            flat.save(true);
          }),
        },
        { name: 'writeFile, not atomic', run: timed((i) => writeFile(at(`${keyAt(i)}.json`), JSON.stringify(TOOLS))) },
      ],
      { operations: 200 },
    );
    bench.target(
      "set without fsync, cacache's time over ours",
      set('cacache').medianNs / set('FileCache, fsync: false').medianNs,
      '>=',
      1,
    );
    const fsyncNs = set('FileCache, fsync: true').medianNs - set('FileCache, fsync: false').medianNs;
    bench.note(`fsync costs ${(fsyncNs / 1_000).toFixed(0)} us a set on this disk`);
    check(await hot.get<List>('key0'));

    await loadRace(bench, hot, keyv, at('cacache'));
  } finally {
    await Promise.all([hot.close(), cold.close(), synced.close()]);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** 1,000 callers (200 when quick) of one missing key at a time; a figure is of one caller. */
async function loadRace(bench: Bench, cache: FileCache, keyv: Keyv, folder: string): Promise<void> {
  const CALLERS = bench.quick ? 200 : 1_000;
  const loads = new Map<string, number>();
  let round = 0;
  const crowd =
    (name: string, ask: (key: string, load: () => Promise<List>) => Promise<List>) => async (operations: number) => {
      for (let done = 0; done < operations; done += CALLERS) {
        const key = `missing${round++}`;
        let loaded = 0;
        const load = async (): Promise<List> => {
          loaded++;
          return TOOLS;
        };
        const lists = await Promise.all(Array.from({ length: CALLERS }, () => ask(key, load)));
        lists.forEach(check);
        loads.set(name, loaded);
      }
    };
  const naive =
    (get: (key: string) => Promise<List | undefined>, set: (key: string, list: List) => Promise<unknown>) =>
    async (key: string, load: () => Promise<List>): Promise<List> => {
      const hit = await get(key);
      if (hit !== undefined) return hit;
      const list = await load();
      await set(key, list);
      return list;
    };
  const going = new Map<string, Promise<List>>();
  await bench.race(
    'one of 1,000 concurrent callers who load one missing key',
    [
      {
        name: 'a Map of promises',
        run: crowd('map', (key, load) => going.get(key) ?? (going.set(key, load()).get(key) as Promise<List>)),
      },
      { name: 'FileCache.getOrLoad', run: crowd('ours', (key, load) => cache.getOrLoad(key, load)) },
      {
        name: 'keyv + keyv-file, get then set',
        operations: CALLERS,
        run: crowd(
          'keyv',
          naive(
            async (key) => keyv.get<List>(key),
            (key, list) => keyv.set(key, list),
          ),
        ),
      },
      {
        name: 'cacache, get then put',
        operations: CALLERS,
        run: crowd(
          'cacache',
          naive(
            (key) =>
              cacache.get(folder, key).then(
                ({ data }) => JSON.parse(String(data)) as List,
                () => undefined,
              ),
            (key, list) => cacache.put(folder, key, JSON.stringify(list)),
          ),
        ),
      },
    ],
    { operations: 5 * CALLERS },
  );
  bench.note(`loaders run for 1,000 callers: ${[...loads].map(([name, count]) => `${name} ${count}`).join(', ')}`);
  if (loads.get('ours') !== 1) throw new Error('more than one loader ran');
}
