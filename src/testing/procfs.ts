import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** What Linux tells in /proc about this process. Where there is no /proc everything here is empty. */

/** Open file descriptors, each with what it leads to. */
export function openFds(): Map<string, string> {
  const fds = new Map<string, string>();
  for (const fd of list('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      // The folder being read is itself an open descriptor.
      if (!target.startsWith('/proc/')) fds.set(fd, target);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return fds;
}

/** Who was found not to be a child of ours. That never changes, so that each process is looked at only once. */
let strangers: ReadonlySet<string> = new Set();

/** Children of this process, zombies too. Read from every process's own parent: `task/…/children` is not in every kernel. */
export function childPids(): string[] {
  const children: string[] = [];
  const others = new Set<string>();
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    if (strangers.has(pid)) {
      others.add(pid);
      continue;
    }
    // `pid (name) state ppid …`, where the name may hold anything.
    const stat = read(`/proc/${pid}/stat`);
    if (stat === '') continue;
    const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ', 2)[1];
    if (parent === String(process.pid)) children.push(pid);
    else others.add(pid);
  }
  strangers = others;
  return children;
}

export function describeProcess(pid: string): string {
  const status = read(`/proc/${pid}/status`);
  const field = (name: string): string => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1] ?? 'gone';
  const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
  return `${pid} (${field('State')}): ${command === '' ? field('Name') : command}`;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (isGone(error)) return '';
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/** Living processes (zombies are dead) in the process groups that these lead or led. */
export function aliveInGroups(leaders: ReadonlySet<number>): string[] {
  if (leaders.size === 0) return [];
  return list('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      const stat = read(`/proc/${pid}/stat`);
      const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ', 3);
      return leaders.has(Number(group)) && state !== 'Z' && state !== 'X';
    })
    .map(describeProcess);
}
