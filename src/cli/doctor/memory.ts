import { readdirSync, readFileSync } from 'node:fs';

/** Resident memory of a process and all that descend from it, in bytes; undefined where the system does not say. */
export function residentBytes(pids: readonly number[]): number | undefined {
  try {
    const children = new Map<number, number[]>();
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const parent = parentOf(name);
      if (parent === undefined) continue;
      const others = children.get(parent);
      if (others === undefined) children.set(parent, [Number(name)]);
      else others.push(Number(name));
    }
    const all = new Set<number>();
    const pending = [...pids];
    for (let pid = pending.pop(); pid !== undefined; pid = pending.pop()) {
      if (all.has(pid)) continue;
      all.add(pid);
      for (const child of children.get(pid) ?? []) pending.push(child);
    }
    return all.size === 0 ? undefined : [...all].reduce((sum, pid) => sum + residentOf(pid), 0);
  } catch {
    return undefined;
  }
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1]);
  } catch {
    return undefined; // gone
  }
}

function residentOf(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1_024;
  } catch {
    return 0; // gone
  }
}
