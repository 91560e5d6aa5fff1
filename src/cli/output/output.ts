import type { ConfigError } from '../../registry/config/ConfigError.js';
import { complain } from './complain.js';
import { visible } from './visible.js';

/** One server as `serve` shows it. */
export interface ServerLine {
  readonly name: string;
  readonly state: string;
  readonly pid: number | undefined;
  /** Undefined where they were not counted: it is not up, or tells them in sessions alone. */
  readonly tools: number | undefined;
  /** When it started, as ISO 8601. */
  readonly startedAt: string | undefined;
  /** How long its start took. */
  readonly startMs: number | undefined;
}

export interface Ready {
  readonly url: string;
  readonly config: string;
  readonly servers: readonly ServerLine[];
  /** The longest that a stop can take. */
  readonly stopMs: number;
  /** The pids of the workers, where there are some. */
  readonly workers?: readonly number[];
}

/** What `serve` tells its starter: text for people, or one JSON object a line. */
export interface Output {
  warning(message: string): void;
  problem(problem: ConfigError): void;
  failure(message: string): void;
  ready(ready: Ready): void;
  event(event: string, fields: object): void;
}

const endpointsOf = ({ url, servers }: Ready): { name: string; url: string }[] => [
  { name: '(all servers)', url: `${url}/mcp` },
  ...servers.map(({ name }) => ({ name, url: `${url}/servers/${encodeURIComponent(name)}/mcp` })),
];

export const jsonOutput: Output = {
  warning: (message) => print({ event: 'warning', message }),
  problem: ({ message, file, server, field, line }) => print({ event: 'problem', message, file, server, field, line }),
  failure: (message) => print({ event: 'failure', message }),
  ready: (ready) => {
    const [all, ...each] = endpointsOf(ready);
    print({ event: 'ready', ...ready, endpoints: { all: all?.url, servers: each } });
  },
  event: (event, fields) => print({ event, ...fields }),
};

export const textOutput: Output = {
  warning: (message) => complain(`warning: ${message}`),
  problem: ({ message }) => complain(message),
  failure: (message) => complain(message),
  ready: (ready) => process.stdout.write(visible(describe(ready))),
  event: (event, fields) => {
    const { reason } = fields as { readonly reason?: string };
    if (event === 'stopping') process.stdout.write(`\n${reason}: answering what is in flight, then stopping.\n`);
    if (event === 'reloaded') process.stdout.write(visible(reloaded(fields as Reloaded)));
    if (event === 'stopped') process.stdout.write('Stopped; no process is left.\n');
  },
};

/** Where stdout belongs to the protocol: what is wrong goes to stderr, the rest is not told. */
export const stdioOutput: Output = { ...textOutput, ready: () => undefined, event: () => undefined };

interface Reloaded {
  readonly config: string;
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

function reloaded({ config, added, changed, removed }: Reloaded): string {
  const said = Object.entries({ added, changed, removed }).filter(([, names]) => names.length > 0);
  const what = said.map(([how, names]) => `${how} ${names.join(', ')}`).join('; ');
  return `Read ${config} again: ${what === '' ? 'no server has changed' : what}.\n`;
}

function print(object: object): void {
  process.stdout.write(`${visible(JSON.stringify(object))}\n`);
}

function describe(ready: Ready): string {
  const rows = ready.servers.map(({ name, state, pid, tools, startedAt, startMs }) => [
    name,
    state,
    pid === undefined ? '-' : String(pid),
    tools === undefined ? '-' : String(tools),
    startedAt === undefined ? '-' : `${startedAt}${startMs === undefined ? '' : `, in ${Math.round(startMs)} ms`}`,
  ]);
  const endpoints = endpointsOf(ready).map(({ name, url }) => [name, url]);
  return [
    `Serving ${ready.config}`,
    '',
    ...table([['server', 'state', 'pid', 'tools', 'started'], ...rows]),
    '',
    ...table([['endpoint', 'url'], ...endpoints]),
    ...(ready.workers === undefined ? [] : ['', `Workers: ${ready.workers.join(', ')}`]),
    '',
    `Ctrl-C stops it: calls in flight are answered first, all within ${ready.stopMs / 1_000} s.`,
    '',
  ].join('\n');
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0),
  );
  return rows.map(
    (row) =>
      `  ${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('   ')
        .trimEnd()}`,
  );
}
