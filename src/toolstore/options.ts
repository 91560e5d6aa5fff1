import { resolve } from 'node:path';
import envPaths from 'env-paths';
import { type Clock, systemClock } from '../core/clock.js';
import { type Logger, silentLogger } from '../core/logger.js';
import { checkBoolean, checkBytes, checkCount, checkMs, checkText, withDefaults } from '../core/options.js';

export interface FileCacheOptions {
  /** Where the files live; made with mode 0700 when missing. @defaultValue the platform's cache folder for mcp-poolkit */
  readonly directory?: string;
  /** How long a value is fresh when its `set` does not say, in ms; `Infinity` for ever. @defaultValue 3600000 (1 h) */
  readonly ttlMs?: number;
  /** How long after that it may be served while it is loaded anew, in ms. @defaultValue 604800000 (7 days) */
  readonly staleMs?: number;
  /** Freshness of a tool list whose upstream gave no `ttlMs`, in ms; 0 is the protocol's rule. @defaultValue 0 */
  readonly defaultTtlMs?: number;
  /** Longest freshness an upstream's `ttlMs` can ask for, in ms. @defaultValue 86400000 (1 day) */
  readonly maxTtlMs?: number;
  /** How long the verdict on a server's era is believed, in ms. @defaultValue 604800000 (7 days) */
  readonly eraTtlMs?: number;
  /** Most values in memory, from 1. @defaultValue 1000 */
  readonly maxEntries?: number;
  /** Most bytes in memory, counted as JSON, from 1. @defaultValue 67108864 (64 MiB) */
  readonly maxBytes?: number;
  /** Bytes of one value as JSON; a larger one is not stored, and counted. @defaultValue 8388608 (8 MiB) */
  readonly maxEntryBytes?: number;
  /** Files on disk after a sweep; the oldest go first. @defaultValue 10000 */
  readonly maxFiles?: number;
  /** Bytes on disk after a sweep. @defaultValue 536870912 (512 MiB) */
  readonly maxDiskBytes?: number;
  /** Most keys waiting to be written, from 1; then `QueueFullError`. @defaultValue 10000 */
  readonly maxPendingWrites?: number;
  /** Another process's newer file is noticed within this time, in ms; 0 looks at each call. @defaultValue 1000 */
  readonly recheckMs?: number;
  /** After a failed background load a stale value is served for this long without another try, in ms. @defaultValue 1000 */
  readonly retryMs?: number;
  /** While the disk refuses writes, they are tried again this often, in ms, from 1. @defaultValue 5000 */
  readonly diskRetryMs?: number;
  /** Pause between sweeps, in ms, from 1; `Infinity` never sweeps. @defaultValue 300000 (5 min) */
  readonly sweepMs?: number;
  /** Whether a file is flushed to the device before it takes its name. @defaultValue true */
  readonly fsync?: boolean;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

const DAY_MS = 86_400_000;
const MIB = 2 ** 20;

export const FILE_CACHE_DEFAULTS = Object.freeze({
  ttlMs: 3_600_000,
  staleMs: 7 * DAY_MS,
  defaultTtlMs: 0,
  maxTtlMs: DAY_MS,
  eraTtlMs: 7 * DAY_MS,
  maxEntries: 1_000,
  maxBytes: 64 * MIB,
  maxEntryBytes: 8 * MIB,
  maxFiles: 10_000,
  maxDiskBytes: 512 * MIB,
  maxPendingWrites: 10_000,
  recheckMs: 1_000,
  retryMs: 1_000,
  diskRetryMs: 5_000,
  sweepMs: 300_000,
  fsync: true,
});

export type FileCacheSettings = Required<FileCacheOptions>;

/** Checked and complete. @throws OptionError */
export function fileCacheSettings(options: FileCacheOptions): FileCacheSettings {
  const all = withDefaults('FileCache', options, FILE_CACHE_DEFAULTS, { directory: true, logger: true, clock: true });
  const forever = { infinity: true };
  return {
    directory: resolve(checkText('directory', all.directory ?? envPaths('mcp-poolkit', { suffix: '' }).cache)),
    ttlMs: checkMs('ttlMs', all.ttlMs, forever),
    staleMs: checkMs('staleMs', all.staleMs, forever),
    defaultTtlMs: checkMs('defaultTtlMs', all.defaultTtlMs, forever),
    maxTtlMs: checkMs('maxTtlMs', all.maxTtlMs, forever),
    eraTtlMs: checkMs('eraTtlMs', all.eraTtlMs, forever),
    maxEntries: checkCount('maxEntries', all.maxEntries, { min: 1 }),
    maxBytes: checkBytes('maxBytes', all.maxBytes, { min: 1 }),
    maxEntryBytes: checkBytes('maxEntryBytes', all.maxEntryBytes, { min: 2, max: 2 ** 28 }),
    maxFiles: checkCount('maxFiles', all.maxFiles, { min: 1 }),
    maxDiskBytes: checkBytes('maxDiskBytes', all.maxDiskBytes, { min: 1 }),
    maxPendingWrites: checkCount('maxPendingWrites', all.maxPendingWrites, { min: 1 }),
    recheckMs: checkMs('recheckMs', all.recheckMs, forever),
    retryMs: checkMs('retryMs', all.retryMs),
    diskRetryMs: checkMs('diskRetryMs', all.diskRetryMs, { min: 1 }),
    sweepMs: checkMs('sweepMs', all.sweepMs, { min: 1, infinity: true }),
    fsync: checkBoolean('fsync', all.fsync),
    logger: all.logger ?? silentLogger,
    clock: all.clock ?? systemClock,
  };
}
