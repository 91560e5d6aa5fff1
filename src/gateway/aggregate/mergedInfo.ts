import type { Implementation, ServerCapabilities } from '@modelcontextprotocol/client';
import { isObject, objectOf } from '../../connection/protocol/objectOf.js';
import type { ServerInfo } from '../../pool/McpPool.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import { acrossEras } from '../endpoint/crossing.js';
import type { EndpointInfo } from '../endpoint/Endpoint.js';
import { joinedInstructions } from './instructions.js';
import { TASKS_TYPE } from './memberTypes.js';

/** What is known of one server. */
export interface KnownServer {
  readonly server: string;
  /** Undefined when it could not be started, or is not up yet. */
  readonly info: ServerInfo | undefined;
  /** It is still starting. */
  readonly pending: boolean;
}

type Settings = Readonly<Record<string, unknown>>;

type Capabilities = Omit<ServerCapabilities, 'tasks' | 'extensions'> & {
  readonly tasks?: Readonly<Record<string, unknown>> | undefined;
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
};

/** Extensions whose messages the aggregate can bring to their server: what another one needs is not known. */
const EXTENSIONS: readonly string[] = ['io.modelcontextprotocol/ui', 'io.modelcontextprotocol/tasks'];

/** What settings of one server take at most that are passed on as they are, in bytes as JSON. */
const MAX_SETTINGS_BYTES = 16 * 1_024;

/**
 * What any of the servers can do, of what the aggregate passes on. A server that is still starting may have any of it. `onCut`
 * is told of each that says more of itself than is passed on.
 */
export function mergedInfo(
  known: readonly KnownServer[],
  serverInfo: Implementation,
  era: Era,
  onCut: (server: string) => void,
): EndpointInfo {
  const all = known.flatMap(({ server, info }): Capabilities[] => {
    if (info === undefined) return [];
    const own: Capabilities = objectOf(info.capabilities);
    const capabilities = info.era === era ? own : acrossEras(own);
    return [withinBounds(capabilities, () => onCut(server))];
  });
  const pending = known.some((each) => each.pending);
  const some = (has: (capabilities: Capabilities) => unknown): boolean => pending || all.some((each) => has(each));
  const instructions = known.flatMap(({ server, info }) =>
    info?.instructions === undefined ? [] : [{ server, text: info.instructions }],
  );
  // What official clients would refuse is left out: they would refuse all servers with it.
  const tasks = all.flatMap((each) => (TASKS_TYPE(each.tasks, 'tasks', new Set()) as Settings | undefined) ?? []);
  const extensions = EXTENSIONS.flatMap((name) => {
    const [first, ...others] = all.flatMap((each) =>
      isObject(each.extensions?.[name]) ? [each.extensions[name]] : [],
    );
    return first === undefined ? [] : [[name, others.reduce(agreed, first)]];
  });
  const capabilities = {
    tools: { listChanged: true },
    ...(some(({ prompts }) => prompts) ? { prompts: { listChanged: true } } : {}),
    ...(some(({ resources }) => resources)
      ? { resources: { ...(some((each) => each.resources?.subscribe) && { subscribe: true }), listChanged: true } }
      : {}),
    ...(some(({ completions }) => completions) ? { completions: {} } : {}),
    ...(some(({ logging }) => logging) ? { logging: {} } : {}),
    ...(tasks.length === 0 ? {} : { tasks: Object.assign({}, ...tasks) }),
    ...(extensions.length === 0 ? {} : { extensions: Object.fromEntries(extensions) }),
  };
  return {
    capabilities: capabilities as ServerCapabilities,
    serverInfo,
    ...(instructions.length === 0 ? {} : { instructions: joinedInstructions(instructions, onCut) }),
  };
}

/** Without what is passed on as it is and too large for that. */
function withinBounds({ tasks, extensions, ...rest }: Capabilities, onCut: () => void): Capabilities {
  const fits = (settings: unknown): boolean => {
    if (settings === undefined || Buffer.byteLength(JSON.stringify(settings)) <= MAX_SETTINGS_BYTES) return true;
    onCut();
    return false;
  };
  const kept = EXTENSIONS.flatMap((name) => (fits(extensions?.[name]) ? [[name, extensions?.[name]]] : []));
  return { ...rest, ...(fits(tasks) && { tasks }), extensions: Object.fromEntries(kept) };
}

/** Settings of an extension that two servers have alike. */
function agreed(one: Settings, other: Settings): Settings {
  const same = ([key, value]: [string, unknown]): boolean => JSON.stringify(value) === JSON.stringify(other[key]);
  return Object.fromEntries(Object.entries(one).filter(same));
}
