import { expect, test, vi } from 'vitest';
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

test('an error is parsed once where results pass as bytes, with its data as it came, and not at all when it has too many values', async () => {
  const connection = await open([fixture('hostile-server.mjs')], {});
  const raw = (data: string): Promise<unknown> =>
    call(
      connection,
      'x',
      { js: `out('{"jsonrpc":"2.0","id":' + id + ',"error":{"code":1,"message":"no","data":' + ${data} + '}}\\n')` },
      { raw: true },
    );
  const parse = vi.spyOn(JSON, 'parse');
  const parsed = (): number => parse.mock.calls.filter(([text]) => String(text).includes('"error"')).length;
  await expect(raw(`'{"n":1.0}'`)).rejects.toMatchObject({ rpcCode: 1, dataText: '{"n":1.0}' });
  expect(parsed()).toBe(1);
  await expect(raw(`'[' + '{},'.repeat(150_000) + '0]'`)).rejects.toThrow('too many values');
  expect(parsed()).toBe(1);
  parse.mockRestore();
});
