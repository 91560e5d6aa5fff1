import type { Command } from 'commander';
import { file, host, port } from '../arguments.js';
import type { FakeOptions, FaultOptions } from './fault.js';

const FAULT_HELP = `
Examples:
  mcp-poolkit fault --plan plan.json -- node my-server.js                                    stdio
  mcp-poolkit fault --plan plan.json --upstream http://127.0.0.1:3000/mcp --port 4000        Streamable HTTP, HTTP+SSE
  mcp-poolkit fault --plan plan.json --upstream tcp://127.0.0.1:6379 --port 6380             Redis, or anything on TCP

A plan that makes the third call of a tool fail by a crash:
  { "seed": 7, "rules": [{ "tool": "echo", "nth": 3, "fault": "crash" }] }`;

/** `mcp-poolkit fault` and `mcp-poolkit fake-server`: their arguments and help. What they need is loaded when they run. */
export function addTesting(program: Command): void {
  program
    .command('fault')
    .description('Stand in front of a server and make calls and starts go wrong as a fault plan says.')
    .requiredOption('--plan <file>', 'the fault plan, JSON', file)
    .option('--state <file>', 'keeps how far the plan is, so that a restarted process goes on from there', file)
    .option(
      '--events <file>',
      'where each fault, and each call the server was handed, is appended as a line of JSON',
      file,
    )
    .option('--name <name>', 'the name that rules with a server know it by', 'server')
    .option('--upstream <url>', 'the server by URL, instead of a command: http, https, or tcp://host:port')
    .option('-p, --port <number>', 'with --upstream: the port to listen on; 0 picks a free one', port, 0)
    .option('--host <address>', 'with --upstream: the address to listen on', host, '127.0.0.1')
    .argument('[command...]', 'the stdio server, after --')
    .addHelpText('after', FAULT_HELP)
    .action(async (command: string[], options: FaultOptions) => (await import('./fault.js')).fault(command, options));
  program
    .command('fake-server')
    .description('Be an MCP server for tests: over stdio, or with --port over Streamable HTTP and HTTP+SSE.')
    .option(
      '--options <file>',
      'what fakeServer takes, as JSON: tools, resources, prompts, plan, era, eventsFile, …',
      file,
    )
    .option('-p, --port <number>', 'the port to listen on, at /mcp and /sse; 0 picks a free one', port)
    .option('--host <address>', 'with --port: the address to listen on', host, '127.0.0.1')
    .action(async (options: FakeOptions) => (await import('./fault.js')).runFake(options));
}
