import { expect, test } from 'vitest';
import { StdioPool } from '../../src/pool/StdioPool.js';

test.each([
  ['throws', "throw new Error('DATABASE_URL is missing')", /\(stderr: Error: DATABASE_URL is missing\)$/],
  [
    'prints how it is used',
    "console.log('Usage: server --port N'); process.exit(2)",
    /exited with code 2 \(stdout: Usage: server --port N\)$/,
  ],
  [
    'colours its words',
    "process.stderr.write('\\x1b]0;evil\\x07\\x1b[31mbad key\\x1b[0m\\n'); process.exit(1)",
    /\(stderr: bad key\)$/,
  ],
])('a program that %s is quoted by the line that matters', async (_, code, message) => {
  await using pool = new StdioPool({ ledger: false });
  await expect(
    pool.startServer({ name: 's', transport: 'stdio', command: process.execPath, args: ['-e', code] }),
  ).rejects.toThrow(message);
});
