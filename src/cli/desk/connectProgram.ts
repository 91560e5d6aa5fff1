import { Command } from 'commander';
import { DAY_MS, file, header, httpUrl, whole } from '../arguments.js';
import { OUTPUT } from '../output/complain.js';
import { SECRET_HELP } from '../secretText.js';
import type { ConnectOptions } from './connect.js';

/** `mcp-poolkit connect` alone: an editor starts one for each window, so that it loads nothing else. */
export function createProgram(): Command {
  const program = new Command('mcp-poolkit')
    .showHelpAfterError('(--help says what there is)')
    .exitOverride()
    .configureOutput(OUTPUT);
  addConnect(program);
  return program;
}

export function addConnect(program: Command): void {
  program
    .command('connect')
    .description('Be one stdio server that is a gateway running elsewhere, or once for many clients.')
    .argument('<url>', "the gateway's endpoint, such as http://127.0.0.1:3399/mcp", endpoint)
    .option('--start', 'start the gateway when none is there; it ends when its last client has gone')
    .option('-c, --config <file>', 'what the gateway that is started serves', file)
    .option(
      '--linger-ms <ms>',
      'the gateway that is started ends so long after its last client',
      whole(1, DAY_MS),
      5_000,
    )
    .option('-H, --header <header...>', `sent with every request, as 'Name: value'; ${SECRET_HELP}`, header, {})
    .addHelpText(
      'after',
      `
In the config of an editor, instead of the servers themselves:

  { "mcpServers": { "all": { "command": "mcp-poolkit", "args": ["connect", "http://127.0.0.1:3399/mcp",
      "--start", "--config", "/home/me/mcp.json"] } } }

One elsewhere, by a token that the editor's config need not hold (or stands in "env" beside "args"):

  "args": ["connect", "https://mcp.example.com/mcp", "-H", "Authorization: Bearer \${TOKEN}"]

The first client starts the gateway, all others share its servers: four windows, one set of processes. A gateway that has died is
started again by the next call. Nothing but the protocol goes to stdout.

Exit code: 0 when the client has closed its end; 1 for options that cannot be meant.`,
    )
    .action(async (url: URL, options: ConnectOptions) => (await import('./connect.js')).connect(url, options));
}

function endpoint(text: string): URL {
  const url = new URL(httpUrl(text));
  if (url.pathname === '/') url.pathname = '/mcp';
  return url;
}
