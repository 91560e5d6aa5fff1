import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Tool } from '@modelcontextprotocol/client';
import type { LogFn, Logger } from '../../src/core/logger.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { FileCache } from '../../src/toolstore/FileCache.js';
import type { FileCacheOptions } from '../../src/toolstore/options.js';
import { closeAfter } from '../support/closeAfter.js';
import { tempFolder } from '../support/tempFolder.js';

/** A directory, a clock, a log, and as many caches on them as a test opens: each stands for a process. */
export class CacheHouse {
  readonly directory: string;
  readonly clock = new FakeClock({ wallMs: Date.now() });
  readonly logged: string[] = [];
  readonly logger: Logger;

  constructor(directory = tempFolder()) {
    this.directory = directory;
    const log: LogFn = (fields: object | string, message?: string) =>
      void this.logged.push(typeof fields === 'string' ? fields : (message ?? ''));
    this.logger = { trace: log, debug: log, info: log, warn: log, error: log };
  }

  open(options: FileCacheOptions = {}): FileCache {
    return closeAfter(this.openLoose(options));
  }

  /** One that the test closes, since its close is meant to reject. */
  openLoose(options: FileCacheOptions = {}): FileCache {
    const { directory, clock, logger } = this;
    return new FileCache({ directory, clock, logger, fsync: false, ...options });
  }

  get folder(): string {
    return join(this.directory, 'v1');
  }

  /** Full paths of the entries on disk. */
  files(): string[] {
    return this.names(this.folder).map((name) => join(this.folder, name));
  }

  /** The only entry on disk. */
  file(): string {
    const [file, ...more] = this.files();
    if (file === undefined || more.length > 0) throw new Error(`there are ${this.files().length} files, not one`);
    return file;
  }

  quarantined(): string[] {
    return this.names(join(this.directory, 'quarantine'));
  }

  names(folder: string): string[] {
    try {
      return readdirSync(folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }
}

export const tools = (...names: string[]): Tool[] => names.map((name) => ({ name, inputSchema: { type: 'object' } }));

/** A promise and its settling, for a loader that a test holds in its hand. */
export function deferred<T>(): {
  readonly promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
