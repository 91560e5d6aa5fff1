import type {
  ServerConfig,
  ServerSettings,
  SeveralServersConfig,
  SingleServerConfig,
  TargetPlace,
  TargetReach,
} from '../ServerConfig.js';
import { SEVERAL_SHAPE } from './severalSchema.js';

/** One of a server's targets as a server of its own. */
export interface ServerTargetConfig extends Required<Pick<TargetPlace, 'weight'>> {
  readonly config: SingleServerConfig;
  readonly zone: string | undefined;
}

/** Whether it is a server of several targets. */
export function isSeveral(config: ServerConfig): config is SeveralServersConfig {
  return 'targets' in config && config.targets !== undefined;
}

/** Each target with the settings of the server, which they share. */
export function targetsOf(config: SeveralServersConfig): ServerTargetConfig[] {
  return config.targets.map(({ weight = 1, zone, ...reach }) => ({
    config: targetConfig(config, reach),
    weight,
    zone,
  }));
}

/** How a target is reached, with the settings of its server. */
export function targetConfig(config: SeveralServersConfig, reach: TargetReach): SingleServerConfig {
  const { transport, ...rest } = settingsOf(config);
  if ('command' in reach) return { ...rest, ...reach, transport: 'stdio' };
  const own = reach.transport ?? (transport === 'stdio' ? undefined : transport);
  return { ...rest, ...reach, ...(own !== undefined && { transport: own }) };
}

/** What holds for each target alike: only a change of this makes all of them new. */
export function settingsOf(config: SeveralServersConfig): ServerSettings & Pick<SeveralServersConfig, 'transport'> {
  return Object.fromEntries(
    Object.entries(config).filter(([field]) => !Object.hasOwn(SEVERAL_SHAPE, field)),
  ) as unknown as ServerSettings;
}

/** The transports that a server may speak; undefined for a URL that names none. */
export function transportsOf(config: ServerConfig): readonly SingleServerConfig['transport'][] {
  if (!isSeveral(config)) return [config.transport];
  return [...new Set(targetsOf(config).map(({ config: { transport } }) => transport))];
}
