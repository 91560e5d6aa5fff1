import type { Command } from 'commander';
import type { FaultOptions } from './fault.js';

/** `mcp-poolkit fault` and `mcp-poolkit fake-server`: their arguments and help. What they need is loaded when they run. */
export function addTesting(program: Command): void {
  program
    .command('fault')
    .description('Stand in front of a stdio server and make calls and starts go wrong as a fault plan says.')
    .requiredOption('--plan <file>', 'the fault plan, JSON')
    .option('--state <file>', 'keeps how far the plan is, so that a restarted process goes on from there')
    .option('--name <name>', 'the name that rules with a server know it by', 'server')
    .argument('<command...>', 'the server, after --')
    .addHelpText('after', '\nExample:\n  mcp-poolkit fault --plan plan.json -- node my-server.js')
    .action(async (command: string[], options: FaultOptions) => (await import('./fault.js')).fault(command, options));
  program
    .command('fake-server')
    .description('Be an MCP server for tests, over stdio.')
    .option('--options <file>', 'what fakeServer takes, as JSON: tools, resources, prompts, plan, era, …')
    .action(async (options: { readonly options?: string }) => (await import('./fault.js')).runFake(options.options));
}
