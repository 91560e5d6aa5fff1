import type { Command } from 'commander';
import { REPLAY_DEFAULTS } from '../../testing/replay/replay.js';
import { DAY_MS, file, httpUrl, whole } from '../arguments.js';
import type { RecordCommandOptions, ReplayCommandOptions } from './replay.js';

/** `mcp-poolkit record` and `mcp-poolkit replay`: their arguments and help. What they need is loaded when they run. */
export function addReplay(program: Command): void {
  program
    .command('record')
    .description('Stand in front of a stdio server and write every message that passes into a file, one a line.')
    .requiredOption('--out <file>', 'the recording: lines are added to it, JSON each', file)
    .option('--name <name>', 'what the recording calls the server', 'server')
    .argument('<command...>', 'the server, after --')
    .addHelpText(
      'after',
      `
Example:
  mcp-poolkit record --out session.jsonl -- node my-server.js

A recording holds what was sent, secrets too.`,
    )
    .action(async (command: string[], options: RecordCommandOptions) =>
      (await import('./replay.js')).recordTraffic(command, options),
    );
  program
    .command('replay')
    .description('Be the server of a recording, over stdio; or send what its clients sent to a server, and compare.')
    .argument('<recording>', 'a file of JSON lines, as `record` writes it', file)
    .argument('[command...]', 'a stdio server to compare with, after --')
    .option('--url <url>', 'a server to compare with, over Streamable HTTP', httpUrl)
    .option('--ignore <path...>', 'what may differ, such as result.content.*.text')
    .option('--timeout <ms>', 'how long one call may take', whole(1, DAY_MS), REPLAY_DEFAULTS.timeoutMs)
    .option('--json', 'print the verdict as JSON')
    .addHelpText(
      'after',
      `
Examples:
  mcp-poolkit replay session.jsonl                              the server of that recording
  mcp-poolkit replay session.jsonl -- node my-server.js         the same calls to this server
  mcp-poolkit replay session.jsonl --url http://localhost:3399/mcp --ignore 'result.content.*.text'

Exit code: 0 when all went as recorded; 1 when it could not be tried; 2 when something differs.`,
    )
    .action(async (file: string, command: string[], options: ReplayCommandOptions) =>
      (await import('./replay.js')).replayRecording(file, command, options),
    );
}
