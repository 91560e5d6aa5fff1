import { DISK_FAULTS } from './table/disk.js';
import { HTTP_FAULTS } from './table/http.js';
import { MESSAGE_FAULTS } from './table/messages.js';
import { PROTOCOL_FAULTS } from './table/protocol.js';
import type { FaultSpec } from './table/spec.js';
import { STDIO_FAULTS } from './table/stdio.js';
import { TCP_FAULTS } from './table/tcp.js';

const TABLE = { ...MESSAGE_FAULTS, ...STDIO_FAULTS, ...HTTP_FAULTS, ...PROTOCOL_FAULTS, ...TCP_FAULTS, ...DISK_FAULTS };

/** What can go wrong: see `FAULTS` for what each is, and `docs/faults.md`. */
export type Fault = keyof typeof TABLE;

/** Every fault there is. Plans, schema, command line, docs and tests read this one table. */
export const FAULTS: Readonly<Record<Fault, FaultSpec>> = Object.freeze(TABLE);

export const FAULT_NAMES: readonly Fault[] = Object.freeze(Object.keys(TABLE) as Fault[]);
