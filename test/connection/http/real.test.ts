import { expect, test } from 'vitest';
import { everythingHttp, openHttp } from '../../support/httpServers.js';

const said = (text: string): object => ({ content: [{ type: 'text', text }] });

test('a real legacy server is found out, initialised, and answers calls', async () => {
  const { url } = await everythingHttp();
  const connection = await openHttp(url);
  expect(connection.info.era).toBe('legacy');
  expect(connection.info.protocolVersion).toBe('2025-11-25');
  const { tools } = (await connection.request('tools/list', {}, {})) as { tools: { name: string }[] };
  expect(tools.map((tool) => tool.name)).toContain('echo');
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      connection.request('tools/call', { name: 'echo', arguments: { message: `m${i}` } }, {}),
    ),
  );
  expect(answers).toEqual(Array.from({ length: 50 }, (_, i) => expect.objectContaining(said(`Echo: m${i}`))));
});
