import type { Command } from 'commander';
import { DAY_MS, file, whole } from '../arguments.js';
import type { AuthOptions } from './auth.js';
import { TOKENS_FLAG } from './tokensFlag.js';

/** Signing in to servers. */
export function addAuth(program: Command): void {
  program
    .command('auth')
    .description('Sign in to a server whose config has "auth": { "type": "oauth" }, or see how that stands.')
    .argument('<server>', 'its name in the config')
    .option('-c, --config <file>', 'config file (default: mcp.json, else examples/mcp.json)', file)
    .option('--status', 'say whether it is signed in to, and until when')
    .option('--logout', 'forget the sign-in, and have the authorization server forget it')
    .option('--scope <scope...>', "what to ask for, instead of the config's scopes")
    .option('--timeout-ms <ms>', 'longest wait for the browser', whole(1, DAY_MS), 300_000)
    .option(...TOKENS_FLAG)
    .option('--json', 'print one JSON object a line, instead of text')
    .addHelpText(
      'after',
      `
It prints the page to sign in at, and waits on 127.0.0.1 for the browser to come back. What that gives is kept in a file that this user
alone can read; 'serve', 'call' and 'doctor' use and renew it from there. Tokens are never printed.

Exit code: 0 when it is signed in (with --logout: when it is not any more); 1 otherwise.`,
    )
    .action(async (server: string, options: AuthOptions) => (await import('./auth.js')).auth(server, options));
}
