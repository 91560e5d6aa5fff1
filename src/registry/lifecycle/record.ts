import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { z } from 'zod';
import type { SpawnConfig } from '../process/ManagedProcess.js';
import { readProcess } from '../process/processTable.js';

const processId = z.object({ pid: z.int().min(2), startTime: z.int().min(1) });

/** One child as its owner wrote it down, before the spawn and, with `child`, after. */
const recordShape = z.strictObject({
  version: z.literal(1),
  token: z.string().regex(/^[0-9a-f]{32}$/),
  name: z.string(),
  /** SHA-256 of command, arguments and folder: says what it was without telling secrets. */
  commandHash: z.string().regex(/^[0-9a-f]{64}$/),
  owner: processId,
  place: z.object({ host: z.string(), boot: z.string(), pidNamespace: z.string() }),
  createdAt: z.int(),
  child: processId.optional(),
});

export type ProcessRecord = z.infer<typeof recordShape>;

/** Where a pid and a start time mean anything. */
export type Place = ProcessRecord['place'];

let here: Place | undefined;

export function thisPlace(): Place {
  here ??= {
    host: hostname(),
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    pidNamespace: readlinkSync('/proc/self/ns/pid'),
  };
  return here;
}

/** This process; in a worker thread that thread, which may end before it: the kernel numbers both alike. */
function thisOwner(): ProcessRecord['owner'] {
  const pid = isMainThread ? process.pid : Number(basename(readlinkSync('/proc/thread-self')));
  return { pid, startTime: readProcess(pid)?.startTime ?? 0 };
}

export function newRecord(token: string, name: string, config: SpawnConfig, createdAt: number): ProcessRecord {
  const command = JSON.stringify([config.command, config.args ?? [], config.cwd ?? '']);
  return {
    version: 1,
    token,
    name,
    commandHash: createHash('sha256').update(command).digest('hex'),
    owner: thisOwner(),
    place: thisPlace(),
    createdAt: Math.round(createdAt),
  };
}

/** @throws when it is not a record of ours, saying why */
export function parseRecord(fileName: string, text: string): ProcessRecord {
  const record = recordShape.parse(JSON.parse(text));
  if (fileName !== `${record.token}.json`) throw new Error('its name and its token differ');
  return record;
}

/** What the record says of its owner, as far as it can be told from here. */
export function ownerOf(record: ProcessRecord): 'alive' | 'gone' | 'rebooted' | 'elsewhere' {
  const place = thisPlace();
  if (record.place.host !== place.host) return 'elsewhere';
  if (record.place.boot !== place.boot) return 'rebooted';
  if (record.place.pidNamespace !== place.pidNamespace) return 'elsewhere';
  const owner = readProcess(record.owner.pid);
  return owner?.alive && owner.startTime === record.owner.startTime ? 'alive' : 'gone';
}
