import { Command, Option } from 'commander';
import { packageVersion } from '../core/version.js';
import { GATEWAY_DEFAULTS } from '../gateway/GatewayOptions.js';
import { DAY_MS, file, files, folder, host, hosts, origins, port, whole } from './arguments.js';
import { addAuth } from './auth/authCommand.js';
import { TOKENS_FLAG } from './auth/tokensFlag.js';
import { addBench, addReference } from './bench/benchCommand.js';
import type { CallOptions } from './call.js';
import { addConnect } from './desk/connectProgram.js';
import type { DoctorOptions } from './doctor/doctor.js';
import type { ImportOptions } from './import/importConfigs.js';
import { OUTPUT } from './output/complain.js';
import { SECRET_HELP, secretText } from './secretText.js';
import type { ServeOptions } from './serving/ServeOptions.js';
import { addStatus } from './status/statusCommand.js';
import { addCheck } from './testing/checkCommand.js';
import { addReplay } from './testing/replayCommands.js';
import { addTesting } from './testing/testingCommands.js';

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];

const CONFIG_HELP = `
The config file has the shape that MCP programs share:

  { "mcpServers": { "files": { "command": "npx", "args": ["-y", "some-server"], "env": { "TOKEN": "\${TOKEN}" } } } }

\${VAR} and \${VAR:-default} are expanded in command, args, env, cwd, url and headers; $\${ stands for a plain \${. A
relative cwd counts from the file's folder. Without --config, mcp.json in this folder is read, else examples/mcp.json.`;

/**
 * The program, ready to parse its arguments. What a command needs is loaded when it runs: help comes at once. Help, the
 * version and wrong usage end it by throwing a `CommanderError`.
 */
export function createProgram(): Command {
  const program = new Command('mcp-poolkit')
    .description('A proxy over MCP servers: pooled connections, bounded queues, and no process left behind.')
    .version(packageVersion())
    .showHelpAfterError('(--help says what there is)')
    .exitOverride()
    .configureOutput(OUTPUT)
    .configureHelp({ showGlobalOptions: true });
  addServe(program);
  addConnect(program);
  addCall(program);
  addDoctor(program);
  addAuth(program);
  addImport(program);
  addBench(program);
  addTesting(program);
  addReference(program);
  addCheck(program);
  addStatus(program);
  addReplay(program);
  program.addHelpText(
    'after',
    `
Examples:
  mcp-poolkit serve --config examples/mcp.json
  mcp-poolkit call everything echo '{"message":"hello"}' --config examples/mcp.json
  mcp-poolkit serve --help`,
  );
  return program;
}

function addServe(program: Command): void {
  program
    .command('serve')
    .description('Start the servers of a config and serve them over Streamable HTTP.')
    .option('-c, --config <file>', 'config file (default: mcp.json, else examples/mcp.json)', file)
    .option('--host <address>', 'address to listen on', host, GATEWAY_DEFAULTS.host)
    .option('-p, --port <number>', 'port to listen on; 0 picks a free one', port, GATEWAY_DEFAULTS.port)
    .option(
      '--allow-host <name...>',
      'host names clients may use, beyond localhost; needed with a --host that is not loopback',
      hosts,
    )
    .option('--allow-origin <name...>', 'host names of web pages that may call, beyond those of this machine', origins)
    .option('--grace-ms <ms>', 'how long calls in flight may still take when it stops', whole(0, 600_000), 10_000)
    .option(
      '--propagation-delay <ms>',
      'how long it goes on serving after /readyz went off, for load balancers that ask it',
      whole(0, 600_000),
      0,
    )
    .option(...TOKENS_FLAG)
    .option('--cache <folder>', "keep the servers' tool lists there: after a restart they are there at once", folder)
    .option(
      '--session-key <from...>',
      'files, or variables as env:NAME, with secrets of 32 characters or more, one a line, that all replicas have: sessions go on in any of them, and after a restart',
      files,
    )
    .option(
      '--redis <url>',
      `where replicas tell each other of changes and keep streams for any of them to resume; needs the package ioredis; ${SECRET_HELP}`,
      (text: string) => secretText('--redis', text),
    )
    .option(
      '--workers <number>',
      'processes that share the port, each with its part of every server; 1 is this one alone',
      whole(1, 256),
      1,
    )
    .option('--stdio', 'be one stdio server that is all of them, instead of listening; ends with its client')
    .option('--exit-unused-ms <ms>', 'end when no client has been connected for so long', whole(1, DAY_MS))
    .option('--sse', 'serve the HTTP+SSE transport of 2024-11-05 too, at /sse beside each /mcp')
    .option('--metrics', 'answer Prometheus at /metrics')
    .option('--no-status', 'no page at /status; with a --host that is not loopback there is none anyway')
    .option('--json', 'print one JSON object a line for each event, instead of text')
    .addOption(logLevel())
    .addHelpText(
      'after',
      `
Endpoints:
  /mcp                 tools and prompts of all servers, as server__name
  /servers/<name>/mcp  one server as it is
  /status              what it does, in a browser: servers, calls, charts; 'mcp-poolkit status' shows it here
  /livez, /readyz      for probes, which may ask by address; a server that is down makes it degraded, not unready
${CONFIG_HELP}

It stops on Ctrl-C or SIGTERM: /readyz says no, after --propagation-delay new calls are refused, those in flight get
--grace-ms, then every server ends. All that takes delay + grace + at most 20 s, 30 s by default (from 28 s of delay
and grace on: 1.6 times delay + grace + 2 s); a worker of --workers that hangs has 5 s more, is killed, and its servers
in up to 5 s. A second signal kills what is left.

It listens first and starts its servers behind: one that is slow or down follows when it is up. The config is read again when it
changes; one that names no servers, or disabled ones alone, is waited for.

Exit code: 0 after a clean stop; 1 when what the config says cannot be run for any server, the address is taken, or something did not stop;
128 + the signal's number when it was forced.`,
    )
    .action(async (options: ServeOptions) => {
      const { workers = 1 } = options;
      // The primary of several serves nothing itself, and loads no gateway.
      if (workers > 1 && (await import('node:cluster')).default.isPrimary) {
        return (await import('./workers/serveWorkers.js')).serveWorkers({ ...options, workers });
      }
      return (await import('./serve.js')).serve(options);
    });
}

function addCall(program: Command): void {
  program
    .command('call')
    .description('Start one server, call one tool, print the result, stop the server.')
    .argument('<server>', 'its name in the config')
    .argument('<tool>', 'the tool to call')
    .argument('[arguments]', 'the arguments, a JSON object', '{}')
    .option('-c, --config <file>', 'config file (default: mcp.json, else examples/mcp.json)', file)
    .option(...TOKENS_FLAG)
    .option('--timeout-ms <ms>', 'longest call', whole(1, DAY_MS), 60_000)
    .option('--json', 'print the whole result as JSON, instead of its text')
    .addOption(logLevel())
    .addHelpText(
      'after',
      `
Text of the result goes to stdout as it is, other content as one line of JSON, progress to stderr.
${CONFIG_HELP}

Exit code: 0 when the tool answered; 1 when it answered with an error, or could not be called.`,
    )
    .action(async (server: string, tool: string, json: string, options: CallOptions) =>
      (await import('./call.js')).call(server, tool, json, options),
    );
}

function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('Start every server of a config, ask for its lists, say what is wrong with each, stop them.')
    .option('-c, --config <file>', 'config file (default: mcp.json, else examples/mcp.json)', file)
    .option(...TOKENS_FLAG)
    .option('--json', 'print one JSON object, instead of text')
    .addOption(logLevel('silent'))
    .addHelpText(
      'after',
      `
For each server: whether it starts, and if not why; the protocol version; how many tools, prompts and resources it has; which of
them are left out of what all servers offer together, and why; lists whose cursors do not advance. For the config: variables
that are not set, entries that are wrong.
${CONFIG_HELP}

Exit code: 0 when there is nothing to say, 1 otherwise, and when the config has no servers.`,
    )
    .action(async (options: DoctorOptions) => (await import('./doctor/doctor.js')).doctor(options));
}

function addImport(program: Command): void {
  program
    .command('import')
    .description('Find the servers in the configs of known clients, and merge them into one config.')
    .argument('[files...]', 'configs to import (default: those of known clients, of this user and this folder)', files)
    .option('-o, --out <file>', 'the config to write; what it has already stays', file, 'mcp.json')
    .option('--dry-run', 'say what would be imported, and write nothing')
    .addHelpText(
      'after',
      `
A server that is there already, under whatever name, is not imported again; one whose name is taken gets its client's behind it.
References such as \${TOKEN} stay references, secrets that are written out stay so: the file is readable by this user alone.

Exit code: 0 when all servers of those files are in it; 1 when there are none, or one could not be imported.`,
    )
    .action(async (files: string[], options: ImportOptions) =>
      (await import('./import/importConfigs.js')).importConfigs(files, options),
    );
}

function logLevel(level = 'warn'): Option {
  return new Option('--log-level <level>', 'log lines on stderr, from this level on')
    .choices(LOG_LEVELS)
    .default(level);
}
