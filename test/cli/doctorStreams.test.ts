import type { ServerResponse } from 'node:http';
import { expect, test, vi } from 'vitest';
import { configFile, run } from '../support/cli.js';
import { RawSse } from '../support/rawSse.js';

vi.setConfig({ testTimeout: 60_000 });

test('of an event stream that is there it says what that lacks, and of a URL at /sse where else a server may be', async () => {
  const at = async (endpoint: string): Promise<string> => (await RawSse.listen({ endpoint })).url;
  const otherOrigin = await at('http://localhost:9/messages');
  const cutOff = await at('/gone/messages');
  const refused = (res: ServerResponse): true => {
    res.writeHead(404).end();
    return true;
  };
  const { url } = await RawSse.listen({ onGet: (_, res) => refused(res), before: ({ res }) => refused(res) });
  const table: [string, { url: string; type?: string }, RegExp][] = [
    ['other', { url: otherOrigin }, /^its event stream wants messages at http:\/\/localhost:9: write that in url/],
    ['otherSse', { url: otherOrigin, type: 'sse' }, /^its event stream wants messages at http:\/\/localhost:9: /],
    ['nowhere', { url: await at('mailto:ann') }, /^its event stream names no place that messages could go to/],
    ['cut', { url: cutOff }, /^its event stream is there, and nothing where that wants messages: see whether a proxy/],
    ['cutSse', { url: cutOff, type: 'sse' }, /^its event stream is there, and nothing where that wants messages: /],
    [
      'none',
      { url: url.replace('/sse', '/none/sse') },
      /^there is no MCP server at \/none\/sse: most are at \/mcp, older/,
    ],
    ['noneSse', { url }, /^there is no MCP server at \/sse: most are at \/mcp$/],
  ];
  const file = configFile(
    Object.fromEntries(table.map(([name, entry]) => [name, { ...entry, startTimeoutMs: 8_000 }])),
  );
  const { stdout } = await run('doctor', '--config', file, '--json');
  const { servers } = JSON.parse(stdout) as { servers: { name: string; problems: string[]; advice: string[] }[] };
  for (const [name, , advice] of table) {
    const found = servers.find((each) => each.name === name);
    expect(found?.advice.join('\n'), `${name}: ${found?.problems}`).toMatch(advice);
  }
});
