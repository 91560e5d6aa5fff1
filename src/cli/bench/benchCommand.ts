import { type Command, InvalidArgumentError, Option } from 'commander';
import { BENCH_DEFAULTS, SWEEP_OPTIONS, WORKLOAD_KINDS } from '../../bench/BenchOptions.js';
import { file, header, port, whole } from '../arguments.js';
import { SECRET_HELP } from '../secretText.js';
import type { BenchCommandOptions } from './bench.js';

/** `mcp-poolkit reference`: the built-in upstream of known service time. */
export function addReference(program: Command): void {
  program
    .command('reference')
    .description("An MCP server whose own time is known: its tool 'echo' answers after it, and says how long it took.")
    .argument('[service]', 'none, fixed:MS, uniform:MIN:MAX, exponential:MEAN or stall:MS:EVERY, in ms', 'none')
    .option('-p, --port <number>', 'serve Streamable HTTP there, 0 for a free one (default: stdio)', port)
    .action(async (service: string, options: { readonly port?: number }) => {
      const { runReference } = await import('./reference.js');
      await runReference(service, options.port);
    });
}

/** `mcp-poolkit bench`: its arguments and help. What it needs is loaded when it runs. */
export function addBench(program: Command): void {
  program
    .command('bench')
    .description('Measure an MCP server or proxy: what it costs, where its knee is, and that every answer is right.')
    .argument('[target]', 'a URL, a server of --config, or a command line for stdio')
    .option(
      '-c, --concurrency <list>',
      'closed model: calls in flight, one step each',
      list,
      BENCH_DEFAULTS.concurrency,
    )
    .option('--rate <list>', 'open model instead: calls a second, or FROM-TO to ramp; one step each', rates)
    .addOption(new Option('--arrivals <kind>', 'open model: how calls are spaced').choices(['uniform', 'poisson']))
    .option(
      '-d, --duration <time>',
      'measured time of each step, such as 10s or 500ms',
      time,
      BENCH_DEFAULTS.durationMs,
    )
    .option('--warmup <time>', 'load before measuring', time, BENCH_DEFAULTS.warmupMs)
    .option('--think <time>', 'closed model: pause of each caller between calls', time)
    .option('--burst <time>', 'closed model: bursts of calls this long, with --idle between them', time)
    .option('--idle <time>', 'closed model: idle time before each burst', time)
    .option('--find-max', 'find the largest load that keeps --slo, from the first -c or --rate on')
    .option('--slo <conditions>', "the objective of --find-max, such as 'p99<200ms,errors<0.1%'")
    .option('--config <file>', 'config file whose servers may be named as targets', file)
    .option('--server <name>', 'the same as the target: a server of --config')
    .option(
      '-H, --header <header...>',
      `sent to URLs, such as 'Authorization: Bearer \${TOKEN}'; ${SECRET_HELP}`,
      header,
    )
    .addOption(new Option('--transport <kind>', 'of URLs, when it should not be found out').choices(['http', 'sse']))
    .addOption(new Option('--era <era>', 'the protocol era to speak').choices(['legacy', 'modern']))
    .option('-t, --tool <name>', 'the tool to call (default: echo, or the first that can be called)')
    .option('-a, --args <json>', 'its arguments, with {{nonce}}, {{turn}}, {{payload:BYTES}}, {{random:MIN:MAX}}')
    .addOption(
      new Option('-w, --workload <kind>', 'what is done again and again').choices(WORKLOAD_KINDS).default('tool'),
    )
    .option('--payload <sizes>', 'workload payload: bytes both ways, such as 1KB,1MB', sizes)
    .option('--slow-tool <name>', 'workload head-of-line: the slow tool')
    .option('--slow-args <json>', 'its arguments')
    .option('--slow <number>', 'workload head-of-line: slow calls in flight all the time', whole(0, 10_000), 4)
    .option(
      '--light <number>',
      'workload fairness: callers with one call each beside the heavy one',
      whole(1, 1_000),
      8,
    )
    .option('--scenario <file>', 'a weighted mix of calls, YAML or JSON', file)
    .option(
      '--faults <file>',
      'a fault plan (JSON) between the load and the target, such as {"ratios":{"crash":0.001}}',
      file,
    )
    .option('--sessions <number>', 'sessions the calls are spread over; a process each on stdio', whole(1, 10_000))
    .option('--workers <number>', 'processes that generate the load', whole(1, 64), BENCH_DEFAULTS.workers)
    .option('--turns <number>', 'how often each step runs (default: 1, 3 with several targets)', whole(1, 1_000))
    .option('--direct <target>', 'compare: the server reached straight')
    .option('--via <target...>', 'compare: the same server through one or more proxies, in turns A B A B')
    .option('--via-start <command...>', 'a command to run first for each --via URL, such as the proxy itself')
    .option(
      '--sweep <option=values>',
      `pool options to try (${SWEEP_OPTIONS.join(', ')}), such as maxConnections=1,2,4`,
    )
    .option('--timeout <time>', 'longest call', time, 60_000)
    .option('--compare <file>', 'an earlier --json report to compare with', file)
    .option('--fail-if <conditions>', "exit with 3 if one holds, such as 'p99>+20%,errors>0'")
    .option('--json [file]', 'the report as JSON, to stdout or a file', file)
    .option('--markdown [file]', 'the report as Markdown tables', file)
    .option('--html <file>', 'the report as one HTML page with charts', file)
    .option('--junit <file>', 'thresholds and right answers as JUnit XML', file)
    .option('--quiet', 'no progress on stderr, and no line for each process in the report')
    .addHelpText(
      'after',
      `
Examples:
  mcp-poolkit bench "node my-server.js" -c 1,16,64
  mcp-poolkit bench http://127.0.0.1:3000/mcp --rate 500 --duration 30s --html report.html
  mcp-poolkit bench http://127.0.0.1:3000/mcp --find-max --slo 'p99<200ms,errors<0.1%' --rate 100
  mcp-poolkit bench --direct everything --via http://127.0.0.1:4000/servers/everything/mcp --config mcp.json \\
    --via-start "npx mcp-poolkit serve --config mcp.json --port 4000"
  mcp-poolkit bench everything --config mcp.json --sweep maxConnections=1,2,4,8

Every answer is checked: it must hold its call's own text (where the tool echoes one), else have the form of the first.
A wrong or missing answer is an error by its class, never a sample. In the open model latency counts from the time a
call was meant to be sent, so that a stall is seen by every call it held up.

Exit code: 0 when it ran and nothing failed; 1 for bad input or a target that cannot be reached; 2 when answers were
wrong or calls failed; 3 when a --fail-if condition held; 130 when interrupted (what was measured so far is printed).
Calls may fail with --faults, and where --fail-if has a bound on errors, as long as some are answered and no answer is
wrong; --find-max is for its objective alone.`,
    )
    .action(async (target: string | undefined, options: BenchCommandOptions) =>
      (await import('./bench.js')).bench(target, options),
    );
}

function list(text: string): number[] {
  const values = text.split(',').map(Number);
  if (values.every((value) => Number.isInteger(value) && value >= 1)) return values;
  throw new InvalidArgumentError('Expected whole numbers separated by commas, such as 1,16,64.');
}

function rates(text: string): { ratePerSec: number; rampTo?: number }[] {
  return text.split(',').map((part) => {
    const hit = /^(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?$/.exec(part.trim());
    if (hit === null)
      throw new InvalidArgumentError('Expected calls a second, such as 500, or a ramp, such as 10-500.');
    return { ratePerSec: Number(hit[1]), ...(hit[2] !== undefined && { rampTo: Number(hit[2]) }) };
  });
}

const UNITS: ReadonlyMap<string, number> = new Map(Object.entries({ ms: 1, s: 1_000, m: 60_000 }));

function time(text: string): number {
  const hit = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text);
  if (hit === null) throw new InvalidArgumentError('Expected a time with its unit, such as 10s, 500ms or 2m.');
  return Number(hit[1]) * (UNITS.get(hit[2] ?? 'ms') ?? 1);
}

const SIZES: ReadonlyMap<string, number> = new Map(Object.entries({ '': 1, B: 1, KB: 1_024, MB: 2 ** 20 }));

function sizes(text: string): number[] {
  return text.split(',').map((part) => {
    const hit = /^(\d+)(B|KB|MB)?$/i.exec(part.trim());
    const bytes = Number(hit?.[1]) * (SIZES.get((hit?.[2] ?? '').toUpperCase()) ?? 1);
    if (bytes >= 1 && bytes <= 64 * 2 ** 20) return bytes;
    throw new InvalidArgumentError('Expected sizes up to 64MB, such as 1KB,100KB,10MB.');
  });
}
