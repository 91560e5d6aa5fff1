/** What a bench file needs: rivals run side by side in turns, medians, ratios, targets. */

export interface Contender {
  readonly name: string;
  /** Does `operations` operations and proves that they were done: it throws when the result is wrong. */
  readonly run: (operations: number) => void | Promise<void>;
  /** Fewer operations for a slow rival; its figure is per operation all the same. */
  readonly operations?: number;
}

export interface Figure {
  readonly name: string;
  /** Median nanoseconds per operation. */
  readonly medianNs: number;
  readonly minNs: number;
  readonly maxNs: number;
  /** CPU time of what is measured per operation, user and system, median. */
  readonly cpuNs: number;
  /** Of a load: latency and memory, where they say more than the time per operation. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly rssBytes?: number;
}

export interface Race {
  readonly title: string;
  readonly rounds: number;
  readonly figures: readonly Figure[];
}

export interface Target {
  readonly title: string;
  readonly wanted: string;
  readonly got: number;
  readonly met: boolean;
}

export interface Report {
  readonly suite: string;
  readonly node: string;
  readonly races: readonly Race[];
  readonly targets: readonly Target[];
  readonly notes: readonly string[];
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
};

/** One bench file's run. `quick` cuts rounds and operations: the ratios get noisier, the assertions stay. */
export class Bench {
  readonly quick: boolean;
  readonly #suite: string;
  readonly #races: Race[] = [];
  readonly #targets: Target[] = [];
  readonly #notes: string[] = [];
  readonly #print: (line: string) => void;

  /** Aborts when the run is ended from outside: every race throws its reason, and what was started is ended. */
  readonly stopping: AbortSignal;

  constructor(
    suite: string,
    options: { readonly quick: boolean; readonly stopping: AbortSignal; readonly print: (line: string) => void },
  ) {
    this.#suite = suite;
    this.stopping = options.stopping;
    this.quick = options.quick;
    this.#print = options.print;
  }

  /** Every contender once a round, in an order that turns, after one warm-up each. At least 9 rounds when not quick. */
  async race(
    title: string,
    contenders: readonly Contender[],
    options: { readonly operations: number; readonly rounds?: number },
  ): Promise<(name: string) => Figure> {
    const rounds = this.quick ? 3 : (options.rounds ?? 9);
    const samples = contenders.map(() => ({ wall: [] as number[], cpu: [] as number[] }));
    for (let round = -1; round < rounds; round++) {
      for (let i = 0; i < contenders.length; i++) {
        const index = (i + Math.max(0, round)) % contenders.length;
        const contender = contenders[index] as Contender;
        this.stopping.throwIfAborted();
        const operations = Math.max(1, Math.ceil((contender.operations ?? options.operations) / (this.quick ? 5 : 1)));
        globalThis.gc?.();
        const cpu = process.cpuUsage();
        const start = process.hrtime.bigint();
        const done = contender.run(operations);
        if (done !== undefined) await done;
        const wallNs = Number(process.hrtime.bigint() - start);
        const { user, system } = process.cpuUsage(cpu);
        if (round < 0) continue;
        samples[index]?.wall.push(wallNs / operations);
        samples[index]?.cpu.push(((user + system) * 1_000) / operations);
      }
    }
    const figures = contenders.map(({ name }, i): Figure => {
      const { wall, cpu } = samples[i] ?? { wall: [], cpu: [] };
      return { name, medianNs: median(wall), minNs: Math.min(...wall), maxNs: Math.max(...wall), cpuNs: median(cpu) };
    });
    return this.result(title, rounds, figures);
  }

  /** A race that something else measured: printed and reported like the others. */
  result(title: string, rounds: number, figures: readonly Figure[]): (name: string) => Figure {
    this.stopping.throwIfAborted();
    this.#races.push({ title, rounds, figures });
    this.#table(title, figures);
    return (name) => {
      const figure = figures.find((each) => each.name === name);
      if (figure === undefined) throw new Error(`no contender named ${name} in ${title}`);
      return figure;
    };
  }

  /** What the figures must show, for example `('6x generic-pool', ratio, '>=', 6)`. A miss stands in the table of targets, it is not thrown. */
  target(title: string, got: number, relation: '>=' | '<=', bound: number): void {
    const met = relation === '>=' ? got >= bound : got <= bound;
    this.#targets.push({ title, wanted: `${relation} ${bound}`, got, met });
  }

  /** Prints all targets in one table. */
  printTargets(): void {
    if (this.#targets.length === 0) return;
    const width = Math.max(...this.#targets.map(({ title }) => title.length));
    this.#print(`\n${this.#suite}: targets`);
    for (const { title, wanted, got, met } of this.#targets) {
      this.#print(
        `  ${met ? 'met   ' : 'MISSED'} ${title.padEnd(width)} ${got.toFixed(2).padStart(10)}  wanted ${wanted}`,
      );
    }
  }

  note(text: string): void {
    this.#notes.push(text);
    this.#print(`  ${text}`);
  }

  get report(): Report {
    return {
      suite: this.#suite,
      node: process.version,
      races: this.#races,
      targets: this.#targets,
      notes: this.#notes,
    };
  }

  #table(title: string, figures: readonly Figure[]): void {
    const first = figures[0]?.medianNs ?? Number.NaN;
    this.#print(`\n${title}`);
    for (const { name, medianNs, minNs, maxNs, cpuNs, p50Ms, p99Ms, rssBytes } of figures) {
      this.#print(
        `  ${name.padEnd(36)} ${format(medianNs).padStart(10)}  x${(medianNs / first).toFixed(2).padEnd(8)}` +
          ` min ${format(minNs)}, max ${format(maxNs)}, cpu ${format(cpuNs)}` +
          (p50Ms === undefined ? '' : `, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms?.toFixed(2)} ms`) +
          (rssBytes === undefined ? '' : `, RSS ${(rssBytes / 2 ** 20).toFixed(0)} MiB`),
      );
    }
  }
}

export function format(ns: number): string {
  if (ns < 1_000) return `${ns.toFixed(1)} ns`;
  if (ns < 1_000_000) return `${(ns / 1_000).toFixed(2)} us`;
  return `${(ns / 1_000_000).toFixed(2)} ms`;
}
