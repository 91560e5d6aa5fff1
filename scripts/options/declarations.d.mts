/** An interface by name, and the declaration file that it is exported from. */
export interface Declared {
  readonly file: string;
  readonly name: string;
}

export interface Member {
  readonly name: string;
  /** The interface that declares it. */
  readonly of: string;
  readonly optional: boolean;
  readonly type: string;
  readonly words: string;
  /** What `@defaultValue` says. */
  readonly standard: string | undefined;
  readonly deprecated: boolean;
}

export function exportedInterfaces(index: string): Declared[];
export function interfacesIn(file: string): string[];
export function membersOf(file: string, name: string): Member[] | undefined;
