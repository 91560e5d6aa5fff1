import type { Point } from '../../src/gateway/status/StatusData.js';

export type Figure = keyof Point;

const POINTS = 180;

/** The last 15 minutes, as the gateway told them. */
export class Past {
  times: number[] = [];
  servers = new Map<string, (Point | null)[]>();

  reset(times: readonly number[], servers: Readonly<Record<string, readonly (Point | null)[]>>): void {
    this.times = [...times];
    this.servers = new Map(Object.entries(servers).map(([name, points]) => [name, [...points]]));
  }

  add(at: number, servers: Readonly<Record<string, Point>>): void {
    this.times.push(at);
    for (const [name, point] of Object.entries(servers)) {
      const points = this.servers.get(name) ?? new Array<Point | null>(this.times.length - 1).fill(null);
      points.push(point);
      this.servers.set(name, points);
    }
    for (const [name, points] of this.servers) {
      if (!Object.hasOwn(servers, name)) this.servers.delete(name);
      else if (points.length > POINTS) points.shift();
    }
    if (this.times.length > POINTS) this.times.shift();
  }

  of(server: string, figure: Figure): (number | null)[] {
    return (this.servers.get(server) ?? []).map((point) => point?.[figure] ?? null);
  }
}
