import type { Caller } from '../connection/calls/Caller.js';
import type { ServerInfo } from '../connection/protocol/messages.js';
import { objectOf } from '../connection/protocol/objectOf.js';
import { canonical, fingerprint } from '../registry/config/fingerprint.js';
import type { SingleServerConfig } from '../registry/config/ServerConfig.js';
import type { ServerTargetConfig } from '../registry/config/targets/targetsOf.js';

/** What is asked of a server that is one of several. */
export interface RoutedServer {
  /** `ready`: a call of the caller finds it up. `idle`: it begins a start. Else it waits for one that is under way, or that follows one that failed. */
  stateFor(caller: Caller | undefined): string;
  /** Begins a start for the caller, beside calls, unless one is under way. */
  begin(caller: Caller | undefined): void;
  /** Whether it would refuse a call at once, since its breaker is open or its starts back off. */
  readonly refuses: boolean;
}

/** One of the servers behind a name. */
export class Target<S> {
  /** Stands in stats and metric labels: host and port, or the program's name, and a number where that is taken. No secret is in it. */
  readonly id: string;
  readonly config: SingleServerConfig;
  /** Of how it is reached and runs: who has the same after a change of the config stays. */
  readonly fingerprint: string;
  readonly server: S;
  /** A mirror or a canary: what it tells and asks by itself is not heard. */
  readonly shadow: boolean;
  weight: number;
  zone: string | undefined;
  /** It was removed, and goes on for the calls and sessions that it has. */
  draining = false;

  constructor(id: string, { config, weight, zone }: ServerTargetConfig, server: S, shadow = false) {
    this.id = id;
    this.config = config;
    this.fingerprint = fingerprint(config);
    this.server = server;
    this.shadow = shadow;
    this.weight = weight;
    this.zone = zone;
  }
}

/** Of what targets tell of themselves that which most of them can do, of as many that which is more: one that can do nothing hides no tools of the others. */
export function toldByMost(told: readonly [ServerInfo, ...ServerInfo[]]): ServerInfo {
  const able = told.map(({ capabilities }) => Object.keys(objectOf(capabilities)).sort());
  const rank = (names: readonly string[]): number => {
    const alike = able.filter((each) => canonical(each) === canonical(names)).length;
    return alike + 1 - 1 / (names.length + 1);
  };
  const ranks = able.map(rank);
  return told[ranks.indexOf(ranks.reduce((a, b) => Math.max(a, b)))] ?? told[0];
}

/** A name for it that no other has. */
export function targetId(config: SingleServerConfig, taken: (id: string) => boolean): string {
  const name = (config.transport === 'stdio' ? programOf(config.command) : new URL(config.url).host).slice(0, 100);
  for (let number = 1; ; number++) {
    const id = number === 1 ? name : `${name}#${number}`;
    if (!taken(id)) return id;
  }
}

const programOf = (command: string): string => command.split(/[/\\]/).at(-1) || 'program';
