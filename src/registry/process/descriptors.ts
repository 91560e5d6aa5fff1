import { closeSync, constants, openSync, readdirSync, readFileSync } from 'node:fs';

/**
 * Descriptors that Node would hand to a child besides those it is told to: Node opens all of its own with O_CLOEXEC, so
 * what lacks that flag came with the start of this process (or from native code). Node marks those up to 15 itself, and
 * has no call to mark another. See docs/decisions/140-descriptors-of-children.md. Linux only; empty elsewhere.
 */

const FOLDER = '/proc/self/fd';
const O_CLOEXEC = 0o2000000;
/** A child's table of descriptors is filled up to the highest one that is hidden, at about a microsecond each. */
const MAX_HIDDEN = 65_535;

let inherited: readonly number[] | undefined;

/**
 * Closes every descriptor that this process was started with, besides stdin, stdout, stderr and a channel to its parent
 * (`NODE_CHANNEL_FD`), so that children have 0, 1 and 2 alone. For a program's own start, before it starts servers: a
 * library cannot know which of them its program still uses. Returns those it closed.
 */
export function closeInheritedDescriptors(): number[] {
  const closed = leaking(listed()).filter((fd) => String(fd) !== process.env['NODE_CHANNEL_FD']);
  for (const fd of closed) {
    try {
      closeSync(fd);
    } catch {
      // Closed already, which is what was wanted.
    }
  }
  return closed;
}

/** How a child's descriptors are to be set up; disposed once it was spawned. */
export interface ChildStdio extends Disposable {
  readonly stdio: readonly ('pipe' | 'ignore' | number)[];
}

/**
 * Three pipes. Where this process still has an inherited descriptor, the child finds `/dev/null` under its number. They
 * are looked for once; later only whether those found are still there.
 */
export function childStdio(): ChildStdio {
  const stdio: ('pipe' | 'ignore' | number)[] = ['pipe', 'pipe', 'pipe'];
  inherited ??= leaking(listed());
  const hidden = leaking(inherited).filter((fd) => fd <= MAX_HIDDEN);
  if (hidden.length === 0) return { stdio, [Symbol.dispose]: () => undefined };
  const nothing = openSync('/dev/null', constants.O_RDWR);
  for (const fd of hidden) {
    while (stdio.length < fd) stdio.push('ignore');
    stdio[fd] = nothing;
  }
  return { stdio, [Symbol.dispose]: () => closeSync(nothing) };
}

/** Those of `descriptors` that are open without O_CLOEXEC. */
function leaking(descriptors: readonly number[]): number[] {
  return descriptors.filter((fd) => {
    try {
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`${FOLDER}info/${fd}`, 'latin1'))?.[1];
      return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
    } catch {
      // Closed meanwhile, as the one that listed the folder is.
      return false;
    }
  });
}

function listed(): number[] {
  if (process.platform !== 'linux') return [];
  try {
    return readdirSync(FOLDER)
      .map(Number)
      .filter((fd) => fd > 2);
  } catch {
    // No /proc, or no descriptor left to list it with.
    return [];
  }
}
