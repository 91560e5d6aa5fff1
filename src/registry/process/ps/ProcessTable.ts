/** One process as the system shows it. */
export interface ProcessRow {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  readonly session: number;
  /** One letter: `R`, `S`, `D`, `T`, `Z` and so on. */
  readonly state: string;
  /** False for a zombie: it holds a number and nothing else. */
  readonly alive: boolean;
  /** When it was started: ticks since boot on Linux, elsewhere seconds. Only equality and order mean anything. */
  readonly startTime: number;
  /** CPU it has used, with that of the children it has waited for, in ms. */
  readonly cpuMs: number;
  readonly residentBytes: number;
}

/** Everything that ran at one moment. */
export interface ProcessTable {
  readonly rows: ReadonlyMap<number, ProcessRow>;
  /** The value of the variable in the environment a process was started with; undefined when it may not be read. */
  environmentOf(pid: number, variable: string): string | undefined;
  /**
   * Looks at what has come since, and again at what could not be told. True when by then each process that there is has been seen alive, or
   * dead before: none can have hidden by starting another and ending while the table was being read.
   */
  catchUp(): Promise<boolean>;
  /** The same without giving the turn away, for one who ends in it. After a quarter of a second it tells true: no more time is taken. */
  catchUpNow(): boolean;
}
