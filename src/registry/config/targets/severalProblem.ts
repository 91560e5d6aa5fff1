import type { SeveralServersConfig } from '../ServerConfig.js';

/** What is wrong with several targets as a whole. */
export interface SeveralProblem {
  readonly field: string;
  readonly value: unknown;
  /** What was expected. */
  readonly why: string;
}

type Asked = Pick<SeveralServersConfig, 'transport' | 'targets' | 'zone' | 'outliers' | 'hedge' | 'sharing'> & {
  readonly mirror?: { readonly to: object } | undefined;
  readonly canary?: { readonly to: object } | undefined;
};

/** What a schema of single fields cannot see; the first thing that is wrong. */
export function severalProblem(config: Asked): SeveralProblem | undefined {
  const { sharing = 'shared' } = config;
  for (const field of ['hedge', 'mirror', 'canary'] as const) {
    if (config[field] === undefined || sharing === 'shared') continue;
    return {
      field,
      value: sharing,
      why: `none with sharing "${sharing}", whose sessions are on one target: leave it out, or set sharing to "shared"`,
    };
  }
  if (config.targets.every(({ weight = 1 }) => weight === 0)) {
    return { field: 'targets', value: 'weight 0 for all', why: 'a weight above 0 for one of them' };
  }
  const { zone, outliers = {}, transport } = config;
  if (zone !== undefined && config.targets.every((each) => each.zone !== zone)) {
    return { field: 'zone', value: zone, why: 'the zone of one of the targets' };
  }
  const { ejectionMs = 5_000, maxEjectionMs = 60_000 } = outliers;
  if (maxEjectionMs < ejectionMs) {
    return {
      field: 'outliers.maxEjectionMs',
      value: maxEjectionMs,
      why: `milliseconds, ${ejectionMs} (ejectionMs) or more`,
    };
  }
  const reaches = [
    ...config.targets.map((each, index) => [`targets.${index}`, each] as const),
    ...(['mirror', 'canary'] as const).flatMap((each) => {
      const to = config[each]?.to;
      return to === undefined ? [] : [[`${each}.to`, to] as const];
    }),
  ];
  for (const [at, reach] of reaches) {
    const problem = reachProblem(reach, at, transport);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function reachProblem(reach: object, at: string, shared: string | undefined): SeveralProblem | undefined {
  const { transport = shared } = reach as { readonly transport?: string };
  const program = 'command' in reach && reach.command !== undefined;
  const url = 'url' in reach && reach.url !== undefined;
  const value = typeof reach;
  if (program && url) return { field: `${at}.url`, value, why: 'a command or a url, not both' };
  if (!program && !url) return { field: at, value, why: 'a command or a url: both are missing' };
  if (transport === undefined) return undefined;
  const field = 'transport' in reach ? `${at}.transport` : `${at}.${program ? 'command' : 'url'}`;
  if ((transport === 'stdio') === program) return undefined;
  return {
    field,
    value: transport,
    why: program ? "transport 'stdio' for a command" : "transport 'http' or 'sse' for a url",
  };
}
