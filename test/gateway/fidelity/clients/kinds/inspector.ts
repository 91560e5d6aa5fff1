import { execFile } from 'node:child_process';
import type { Run } from '../run.js';
import type { Outcome } from '../steps.js';
import type { Target } from '../targets.js';
import { INSPECTOR, NODE } from './programs.js';

/** What the Inspector's command line can do, by step: its arguments for each of the step's runs. It waits 60 s for a call at the longest. */
const COMMANDS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  connect: [['initialize']],
  'list tools': [['tools/list']],
  'list and read resources': [
    ['resources/list'],
    ['resources/read', '--uri', 'test://static-text'],
    ['resources/read', '--uri', 'test://static-binary'],
  ],
  templates: [['resources/templates/list'], ['resources/read', '--uri', 'test://template/7/data']],
  prompts: [
    ['prompts/list'],
    ['prompts/get', '--prompt-name', '+test_simple_prompt'],
    ['prompts/get', '--prompt-name', '+test_prompt_with_arguments', '--prompt-args', 'arg1=a', 'arg2=Zürich'],
  ],
  call: [
    ['tools/call', '--tool-name', '+test_multiple_content_types'],
    ['tools/call', '--tool-name', '+test_header_parameter', '--tool-args-json', '{"region":"Zürich","query":"漢字"}'],
  ],
  'log level': [['logging/setLevel', '--log-level', 'info']],
  logs: [['tools/call', '--tool-name', '+test_tool_with_logging']],
  progress: [['tools/call', '--tool-name', '+test_tool_with_progress']],
  roots: [['tools/call', '--tool-name', '+test_input_required_result_list_roots']],
  errors: [
    ['tools/call', '--tool-name', '+test_error_handling'],
    ['tools/call', '--tool-name', 'no_such_tool'],
    ['resources/read', '--uri', 'test://no-such-resource'],
    ['prompts/get', '--prompt-name', 'no_such_prompt'],
  ],
  resume: [['tools/call', '--tool-name', '+test_reconnection']],
};

export interface Inspector {
  readonly name: string;
  run(target: Target, steps: (name: string) => boolean): Promise<Run>;
}

export const INSPECTORS: readonly Inspector[] = (['legacy', 'auto'] as const).map((era) => ({
  name: `Inspector CLI, ${era}`,
  run: async (target, steps) => {
    const run = new Map<string, Outcome>();
    for (const [step, commands] of Object.entries(COMMANDS)) {
      if (!steps(step)) continue;
      const value: unknown[] = [];
      for (const command of commands) value.push(await inspect(era, target, command));
      run.set(step, { value });
    }
    return run;
  },
}));

/** What one command says. A `+` stands before names that the target may prefix. */
function inspect(era: string, target: Target, [method = '', ...rest]: readonly string[]): Promise<unknown> {
  const prefix = target.prefix ?? '';
  const args = rest.map((arg) => arg.replace(/^\+/, prefix));
  const line = ['--cli', target.url, '--protocol-era', era, '--quiet', '--format', 'json', '--method', method, ...args];
  return new Promise((resolve) => {
    execFile(NODE, [INSPECTOR, ...line], { timeout: 120_000, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
      const plain = (text: string): string =>
        (prefix === '' ? text : text.replaceAll(prefix, '')).replaceAll(target.url, 'URL');
      resolve({ code: error?.code ?? 0, out: parsed(plain(stdout)), said: plain(stderr) });
    });
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
