import { expect, test } from 'vitest';
import { fixture } from '../../support/servers.js';
import { call, open } from '../../support/stdioConnection.js';

test('an error of more than 8 MiB fails its call by its size, where results pass as bytes; a result of the same size passes', async () => {
  const connection = await open([fixture('hostile-server.mjs')], { maxMessageBytes: 64 * 1_024 * 1_024 });
  const large = `'x'.repeat(9_000_000)`;
  const error = (member: string): string => `out('{"jsonrpc":"2.0","id":' + id + ',"error":{"code":1,${member}}}\\n')`;
  const raw = (js: string): Promise<unknown> => call(connection, 'x', { js }, { raw: true });
  const tooLarge = { code: 'ERR_MESSAGE_TOO_LARGE', message: expect.stringContaining('8388608') };
  await expect(raw(error(`"message":"' + ${large} + '"`))).rejects.toMatchObject(tooLarge);
  await expect(raw(error(`"message":"no","data":"' + ${large} + '"`))).rejects.toMatchObject(tooLarge);
  const result = (await raw(
    `out('{"jsonrpc":"2.0","id":' + id + ',"result":{"x":"' + ${large} + '"}}\\n')`,
  )) as Uint8Array;
  expect(result.length).toBeGreaterThan(9_000_000);
  await expect(raw(error(`"message":"' + 'x'.repeat(1_000_000) + '"`))).rejects.toMatchObject({ rpcCode: 1 });
});
