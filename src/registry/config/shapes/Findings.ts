import { ConfigError, type ConfigPlace, describeAt } from '../ConfigError.js';

/** Problems of one file that are named, and warnings. A file may have a million: to name each costs more than it helps. */
const MAX_NAMED = 1_000;

/** Problems of one server that are named. */
const MAX_NAMED_PER_SERVER = 20;

/** What is wrong or unused in one file. The first are named, the others counted. */
export class Findings {
  readonly problems: ConfigError[] = [];
  readonly warnings: string[] = [];
  /** Every server that has a problem, named or not. */
  readonly broken = new Set<string>();
  readonly #file: string;
  #unnamed = 0;
  #unnamedWarnings = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** What belongs to one server. */
  of(server: string): ServerFindings {
    return new ServerFindings(this, server);
  }

  problem(place: () => ConfigPlace, why: string): void {
    if (this.problems.length < MAX_NAMED) this.problems.push(new ConfigError(place(), why));
    else this.#unnamed++;
  }

  warn(place: () => ConfigPlace, why: string | (() => string)): void {
    if (this.warnings.length >= MAX_NAMED) this.#unnamedWarnings++;
    else this.warnings.push(describeAt(place(), typeof why === 'string' ? why : why()));
  }

  /** Says how many are not named. */
  end(): void {
    const file = this.#file;
    if (this.#unnamedWarnings > 0) this.warnings.push(describeAt({ file }, `${this.#unnamedWarnings} more warnings`));
    if (this.#unnamed > 0) this.warnings.push(describeAt({ file }, `${this.#unnamed} more problems`));
  }
}

/** What is wrong or unused in one server's entry. */
export class ServerFindings {
  readonly #all: Findings;
  readonly #server: string;
  #problems = 0;

  constructor(all: Findings, server: string) {
    this.#all = all;
    this.#server = server;
  }

  get failed(): boolean {
    return this.#problems > 0;
  }

  problem(place: () => ConfigPlace, why: string): void {
    this.#all.broken.add(this.#server);
    if (++this.#problems <= MAX_NAMED_PER_SERVER) this.#all.problem(place, why);
  }

  warn(place: () => ConfigPlace, why: string | (() => string)): void {
    this.#all.warn(place, why);
  }

  /** Says how many are not named; `place` is the whole entry. */
  end(place: () => ConfigPlace): void {
    const unnamed = this.#problems - MAX_NAMED_PER_SERVER;
    if (unnamed > 0) this.#all.problem(place, `${unnamed} more places are wrong`);
  }
}
