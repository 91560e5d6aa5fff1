import { expect, test } from 'vitest';
import { UpstreamOAuth } from '../../src/auth/UpstreamOAuth.js';
import type { UrlServerConfig } from '../../src/registry/config/ServerConfig.js';
import { AuthorizationServer, type AuthorizationServerOptions, ProtectedServer } from '../support/oauth.js';
import { failure } from '../support/rawCalls.js';

/** What the begin of a sign-in fails with. */
async function begun(options: AuthorizationServerOptions, resource?: (url: string) => object): Promise<unknown> {
  const server = await ProtectedServer.listen(await AuthorizationServer.listen(options), resource);
  const oauth = new UpstreamOAuth({
    store: { get: async () => undefined, set: async () => undefined, delete: async () => undefined },
  });
  const config: UrlServerConfig = { name: 'far', transport: 'http', url: server.url, auth: { type: 'oauth' } };
  return failure(oauth.begin(config, { redirectUrl: 'https://proxy.example/back' }));
}

/** Characters of which none comes twice: a URL parser takes a time that is quadratic in those of a host. */
const different = (count: number): string =>
  Array.from({ length: count }, (_, i) => String.fromCodePoint(0x4e00 + i)).join('');

test.each([
  ['as they are', `http://${different(3_000)}/`],
  ['escaped for a URL', `http://${encodeURIComponent(different(3_000))}/`],
])('metadata with a URL of thousands of characters beyond ASCII, %s, are not looked into', async (_, url) => {
  const why = { code: 'ERR_SIGN_IN', message: expect.stringContaining('more than 4000 bytes that are not ASCII') };
  expect(await begun({ metadata: { authorization_endpoint: url } })).toMatchObject(why);
  expect(await begun({}, () => ({ resource: url }))).toMatchObject(why);
});

test('an error page may be of any kind: it says that there are no metadata', async () => {
  const page = `<html>${different(5_000)}${'a, '.repeat(5_000)}`;
  const before: AuthorizationServerOptions['before'] = (_request, response) => {
    response.writeHead(404, { 'content-type': 'text/html' }).end(page);
    return true;
  };
  expect(await begun({ before })).toMatchObject({ message: expect.stringContaining('publishes no metadata') });
});

test('commas of a text are no values; those of a list are', async () => {
  const told = (more: object): Promise<unknown> =>
    begun({ metadata: { op_policy_uri: 'https://a.example/', ...more } });
  // It begins.
  await expect(told({ text: `${',"\\'.repeat(5_000)},` })).rejects.toThrow('resolved to {}');
  const many = { message: expect.stringContaining('more than 4000 values') };
  expect(await told({ text: '\\"', list: Array(5_000).fill(1) })).toMatchObject(many);
});
