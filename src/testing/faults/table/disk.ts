import type { FaultSpec } from './spec.js';

const call = { scope: 'call', wires: ['disk'], settings: [] } as const;

/** What a `FaultyDisk` asks a plan about. */
export const DISK_METHODS = Object.freeze(['disk/read', 'disk/write', 'disk/rename', 'disk/remove'] as const);
export type DiskMethod = (typeof DISK_METHODS)[number];

/** Faults of files: of a cache, a ledger, a saved config, whatever writes below the folder of a `FaultyDisk`. */
export const DISK_FAULTS = Object.freeze({
  diskFull: {
    ...call,
    methods: ['disk/write'],
    shows: 'a file cannot be made or written: ENOSPC; reading, renaming and removing work',
    answer:
      'FileCache works in memory and says so once, until the disk can be written again; the ledger warns, and processes start without a record; a config that cannot be saved is an error, and the old file stays',
  },
  readOnly: {
    ...call,
    methods: ['disk/write', 'disk/rename', 'disk/remove'],
    shows: 'nothing can be written, renamed or removed: EROFS',
    answer: 'as diskFull',
  },
  ioError: {
    ...call,
    methods: ['disk/read', 'disk/write'],
    shows: 'a file cannot be read or written: EIO',
    answer: 'read: FileCache misses; written: as diskFull',
  },
  slowDisk: {
    ...call,
    methods: DISK_METHODS,
    settings: ['delayMs'],
    shows: "whatever is done with a file takes so long (default: the plan's delayMs)",
    answer: 'waits',
  },
  tornWrite: {
    ...call,
    methods: ['disk/rename'],
    shows: 'a file is put in its place with the first half of its bytes, as after a machine that lost its power',
    answer:
      'FileCache sets the entry aside (quarantined) and misses; the ledger rejects the record; a config file has a problem with its place',
  },
}) satisfies Readonly<Record<string, FaultSpec>>;
