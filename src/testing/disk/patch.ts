import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import type { DiskMethod } from '../faults/table/disk.js';

/** One call of a function of `node:fs`, as it is about to be made. */
export interface DiskCall {
  readonly method: DiskMethod;
  /** The function's name. */
  readonly syscall: string;
  /** The file: of two, the one that is made. */
  readonly path: string;
}

/** What is to become of it. */
export interface DiskVerdict {
  readonly delayMs?: number;
  readonly error?: Error;
  /** Called once it has been done. */
  readonly after?: () => void;
}

export type DiskJudge = (call: DiskCall) => DiskVerdict | undefined;

/** The functions that are judged, by what they do to a file. */
const FUNCTIONS: ReadonlyMap<string, DiskMethod | 'open'> = new Map<string, DiskMethod | 'open'>([
  ['open', 'open'],
  ['readFile', 'disk/read'],
  ['writeFile', 'disk/write'],
  ['appendFile', 'disk/write'],
  ['mkdir', 'disk/write'],
  ['rename', 'disk/rename'],
  ['link', 'disk/rename'],
  ['unlink', 'disk/remove'],
  ['rm', 'disk/remove'],
]);

type AnyFunction = (...args: unknown[]) => unknown;
type Functions = Record<string, AnyFunction>;

const { readlinkSync } = fs;
const judges = new Set<DiskJudge>();
let undo: (() => void) | undefined;

/** From now on that judge is asked before each call; until disposed. Only then are the functions of Node as they were. */
export function judgeDisk(judge: DiskJudge): Disposable {
  judges.add(judge);
  undo ??= patch();
  return {
    [Symbol.dispose]: () => {
      judges.delete(judge);
      if (judges.size > 0) return;
      undo?.();
      undo = undefined;
    },
  };
}

function patch(): () => void {
  const callbacks = fs as unknown as Functions;
  const promises = fs.promises as unknown as Functions;
  const kept: (() => void)[] = [];
  const put = (owner: Functions, name: string, wrap: (real: AnyFunction) => AnyFunction): void => {
    const real = owner[name];
    if (real === undefined) return;
    owner[name] = wrap(real);
    kept.push(() => {
      owner[name] = real;
    });
  };
  for (const name of FUNCTIONS.keys()) {
    put(callbacks, name, (real) => withCallback(name, real));
    put(callbacks, `${name}Sync`, (real) => atOnce(name, real));
    put(promises, name, (real) => promised(name, real));
  }
  syncBuiltinESMExports();
  return () => {
    for (const back of kept) back();
    syncBuiltinESMExports();
  };
}

function withCallback(name: string, real: AnyFunction): AnyFunction {
  return (...args) => {
    const verdict = judged(name, args);
    const done = args.at(-1);
    if (verdict === undefined || typeof done !== 'function') return real(...args);
    const { delayMs = 0, error, after } = verdict;
    const go = (): void => {
      if (error !== undefined) done(error);
      else {
        real(...args.slice(0, -1), (...results: unknown[]) => {
          if (results[0] === null || results[0] === undefined) after?.();
          done(...results);
        });
      }
    };
    setTimeout(go, delayMs);
    return undefined;
  };
}

function atOnce(name: string, real: AnyFunction): AnyFunction {
  return (...args) => {
    const verdict = judged(name, args);
    if (verdict === undefined) return real(...args);
    const { delayMs = 0, error, after } = verdict;
    // A disk that is slow holds up who does not let others work meanwhile.
    if (delayMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
    if (error !== undefined) throw error;
    const result = real(...args);
    after?.();
    return result;
  };
}

function promised(name: string, real: AnyFunction): AnyFunction {
  return async (...args) => {
    const verdict = judged(name, args);
    if (verdict === undefined) return real(...args);
    const { delayMs = 0, error, after } = verdict;
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (error !== undefined) throw error;
    const result = await real(...args);
    after?.();
    return result;
  };
}

function judged(name: string, args: readonly unknown[]): DiskVerdict | undefined {
  const kind = FUNCTIONS.get(name) ?? 'disk/read';
  const method = kind === 'open' ? (writes(args[1]) ? 'disk/write' : 'disk/read') : kind;
  const path = pathOf(method === 'disk/rename' ? args[1] : args[0]);
  if (path === undefined) return undefined;
  for (const judge of judges) {
    const verdict = judge({ method, syscall: name, path });
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

/** Whether a file is opened to be written: by letters, or by numbers. */
function writes(flags: unknown): boolean {
  if (typeof flags === 'string') return /[wa+]/.test(flags);
  const { O_WRONLY, O_RDWR, O_CREAT } = fs.constants;
  return typeof flags === 'number' && (flags & (O_WRONLY | O_RDWR | O_CREAT)) !== 0;
}

/** The path as a name: also where it is reached by the handle of its folder. */
function pathOf(given: unknown): string | undefined {
  const path = given instanceof URL ? decodeURIComponent(given.pathname) : given?.toString();
  const [, handle, rest] = /^(\/proc\/self\/fd\/\d+)(\/.*)$/.exec(path ?? '') ?? [];
  if (handle === undefined) return typeof given === 'number' ? undefined : path;
  try {
    return `${readlinkSync(handle)}${rest}`;
  } catch {
    return undefined;
  }
}
