import { readProcess } from '../../registry/process/processTable.js';

/** Processor time of servers' processes, which never goes back though processes come and go. */
export class ProcessorTime {
  readonly #byServer = new Map<string, { totalMs: number; readonly seen: Map<number, number> }>();

  /** In seconds; undefined where the system does not tell. */
  secondsOf(server: string, pids: readonly number[]): number | undefined {
    const known = this.#byServer.get(server) ?? { totalMs: 0, seen: new Map<number, number>() };
    let told = this.#byServer.has(server);
    for (const pid of pids) {
      const cpuMs = process.platform === 'linux' ? readProcess(pid)?.cpuMs : undefined;
      if (cpuMs === undefined) continue;
      told = true;
      // A pid that was given to another process begins anew.
      const before = known.seen.get(pid) ?? 0;
      known.totalMs += cpuMs >= before ? cpuMs - before : cpuMs;
      known.seen.set(pid, cpuMs);
    }
    for (const pid of known.seen.keys()) if (!pids.includes(pid)) known.seen.delete(pid);
    if (told) this.#byServer.set(server, known);
    return told ? known.totalMs / 1_000 : undefined;
  }

  /** Forgets servers that are gone. */
  keep(servers: ReadonlySet<string>): void {
    for (const server of this.#byServer.keys()) if (!servers.has(server)) this.#byServer.delete(server);
  }
}
