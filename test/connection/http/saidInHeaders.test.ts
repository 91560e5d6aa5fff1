import { expect, test } from 'vitest';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';

test('what no header can hold, or no server takes, is refused as the caller’s mistake: the server is not held to fail', async () => {
  const { url } = await closeAfter(fakeServer({ era: 'modern' })).listen();
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url, era: 'modern' });
  const long = 'n'.repeat(200_000);
  const refused = async (method: string, params: object): Promise<void> => {
    const error = await pool.request('s', method, { ...params }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'ERR_OPTION' });
  };
  for (let i = 0; i < 10; i++) {
    await refused('me\r\nX-Evil: 1Ā', {});
    await refused(long, {});
    await refused('tools/call', { name: long, arguments: {} });
    await refused('resources/read', { uri: `x:${long}` });
  }
  expect(await pool.callTool('s', 'echo', { text: 'still here' })).toMatchObject({ content: expect.any(Array) });
});
