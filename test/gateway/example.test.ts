import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { RawClient } from '../support/httpClient.js';
import { Program, runnable } from '../support/program.js';
import { examples } from '../support/servers.js';

// Programs start here, several at once, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

test('the proxy of the README serves, and ends cleanly', async () => {
  const program = new Program(await runnable('proxy.ts'), { args: ['examples/mcp.json'], env: { PORT: '0' } });
  const [, url = ''] = await program.line(/^serving (.*)$/);
  expect(program.output).toContain('Echo: hello');
  const client = new RawClient(url);
  await client.initialize();
  const { result } = await client.call('tools/call', { name: 'everything__get-sum', arguments: { a: 1, b: 2 } });
  expect(JSON.stringify(result)).toContain('3');
  program.kill('SIGTERM');
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.stderr).toBe('');
});

test('the README shows it as it is', () => {
  expect(readFileSync(join(examples, '../README.md'), 'utf8')).toContain(
    readFileSync(join(examples, 'proxy.ts'), 'utf8'),
  );
});
