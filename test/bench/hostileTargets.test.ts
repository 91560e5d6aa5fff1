import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { runBench } from '../../src/bench/runBench.js';
import { parseTarget } from '../../src/bench/target/TargetSpec.js';
import { closeAfter } from '../support/closeAfter.js';
import { freePort } from '../support/httpServers.js';
import { fixture } from '../support/servers.js';

/** A target that cannot be measured is told in one line, by its name and by what was expected, before any load. */

const measure = async (text: string) => {
  const targets = [await parseTarget(text, { era: 'legacy' })];
  const settings = { timeoutMs: 2_000, pool: { startTimeoutMs: 1_000 } };
  const run = runBench({ targets, settings, durationMs: 50, warmupMs: 0, concurrency: [1] });
  return run.then(
    () => 'it was measured',
    (error: Error & { readonly code?: string }) => {
      expect(error.code).toMatch(/^ERR_/);
      expect(error.message.length).toBeLessThan(2_000);
      return error.message;
    },
  );
};

test.each([
  ['exits', /did not start: it exited with code 3/],
  ['silent', /did not start: initialize was not answered within \d+ ms/],
  ['rubbish', /did not start: .*not answered within \d+ ms.*stdout: <html>Welcome/],
  ['initialize fails', /did not start: no license/],
  ['no list', /its tools\/list has no array of tools/],
  ['list fails', /expected a server that answers tools\/list, not with the error -32603: the database is down/],
  ['no tools', /expected a server with a tool to call: its tools\/list has none/],
  ['tools that are none', /expected a server with a tool to call: its tools\/list has none/],
  ['a bad schema', /tool: got "a", expected a tool whose inputSchema can be used: /],
  ['tools that need much', /expected the name of a tool, and --args for it; the server has t0, .*t9 and 990 more$/],
  ['odd schemas', /tool: got "a", expected a tool whose inputSchema can be used: /],
  ['exits when called', /outcome of tools\/call unknown: it exited with code 1/],
  [
    'a call fails',
    /a server whose tool echo answers \{"text":.*, not with the error -32603: the disk is full \(--tool/,
  ],
  ['a tool fails', /a server whose tool echo answers .*the tool answered with an error: .*the disk is full/],
  ['odd answers', /a server whose tool echo answers .*it is no object/],
] as const)('a stdio server: %s', async (wrong, says) => {
  const token = randomUUID();
  const message = await measure(`"${process.execPath}" "${fixture('hostile-target.mjs')}" '${wrong}' ${token}`);
  expect(message).toMatch(says);
  // Of a long command its beginning is told.
  if (!/^option tool/.test(message)) expect(message).toContain(process.execPath.slice(0, 24));
  expect(commandLines().filter((line) => line.includes(token))).toEqual([]);
});

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    });
}

test.each<[string, (response: ServerResponse) => void, RegExp]>([
  [
    'not there',
    (response) => response.writeHead(404).end('no'),
    /over Streamable HTTP: it answered initialize with 404/,
  ],
  ['a web page', (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>hi'), /text\/html/],
  [
    'half of JSON',
    (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{'),
    /not JSON: \{/,
  ],
  ['ends connections', (response) => response.socket?.destroy(), /outcome of initialize unknown: other side closed/],
  ['says nothing', () => undefined, /not answered within|not ready within/],
])('a server by URL: %s', async (_, answer, says) => {
  const server = createServer((request, response) => void request.resume().on('end', () => answer(response)));
  server.listen(0, '127.0.0.1');
  closeAfter({ close: async () => void server.close().closeAllConnections() });
  await expect.poll(() => server.listening).toBe(true);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const message = await measure(url);
  expect(message).toMatch(says);
  expect(message.split(url), 'it is named, once').toHaveLength(2);
});

test('a proxy that was started for the run has time to list the tools of the servers behind it', async () => {
  const port = await freePort();
  const start = `"${process.execPath}" "${fixture('late-tools.mjs')}" ${port}`;
  const target = await parseTarget(`http://127.0.0.1:${port}/mcp`, { era: 'legacy', start });
  const { steps } = await runBench({ targets: [target], durationMs: 50, warmupMs: 0, concurrency: [1] });
  expect(steps[0]?.all.errors).toEqual({});
  expect(steps[0]?.all.calls).toBeGreaterThan(0);
});
