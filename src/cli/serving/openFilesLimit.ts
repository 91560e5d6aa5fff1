import { readFileSync } from 'node:fs';

const TOO_MANY = new Set(['EMFILE', 'ENFILE']);

/** How many files this process may have open; undefined where the system does not say. Node has raised it to what is allowed. */
export function openFilesLimit(): number | undefined {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
    return found === undefined ? undefined : Number(found);
  } catch (error) {
    return TOO_MANY.has((error as NodeJS.ErrnoException).code ?? '') ? 0 : undefined;
  }
}

/** How many sockets are taken of `max`: half of the files that may be open, or another `part` of them, so that servers can still be started. */
export function socketsOf(max: number, part = 1 / 2): number {
  const limit = openFilesLimit();
  return limit === undefined ? max : Math.max(1, Math.min(max, Math.floor(limit * part)));
}
