import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { checkServerConfig } from '../../../src/registry/config/checkServerConfig.js';
import { parseConfig } from '../../../src/registry/config/configFile.js';
import { fingerprint } from '../../../src/registry/config/fingerprint.js';
import type { ServerConfig } from '../../../src/registry/config/ServerConfig.js';
import { closeAfter } from '../../support/closeAfter.js';

const URL_ = 'https://far.example/mcp';
const ISSUER = 'https://issuer.example';

const parse = (entry: object, variables = {}) =>
  parseConfig(JSON.stringify({ mcpServers: { far: entry } }, undefined, 1), { file: 'm.json', variables });

test('a sign-in is read from the file, with variables in its texts', () => {
  const auth = {
    type: 'oauth',
    clientId: `\${ID}`,
    clientSecret: `\${SECRET}`,
    issuer: ISSUER,
    scopes: ['a:b'],
    redirectPort: 0,
  };
  const { servers, problems, warnings } = parse({ url: URL_, auth }, { ID: 'me', SECRET: 's3cret' });
  expect([problems, warnings]).toEqual([[], []]);
  expect(servers).toEqual([{ name: 'far', url: URL_, auth: { ...auth, clientId: 'me', clientSecret: 's3cret' } }]);
});

test.each<[object, string, string]>([
  [{ type: 'basic' }, 'auth.type', 'expected "oauth"'],
  [{ type: 'oauth', scope: 'a' }, 'auth', 'Unrecognized key: "scope"'],
  [{ type: 'oauth', scopes: ['a b'] }, 'auth.scopes.0', 'expected a scope'],
  [{ type: 'oauth', scopes: 'a' }, 'auth.scopes', 'expected an array of strings'],
  [{ type: 'oauth', grant: 'password' }, 'auth.grant', 'expected one of'],
  [{ type: 'oauth', redirectPort: 70_000 }, 'auth.redirectPort', 'expected a port'],
  [{ type: 'oauth', grant: 'client_credentials' }, 'auth.clientId', 'client_credentials needs'],
  [{ type: 'oauth', grant: 'client_credentials', clientId: 'c' }, 'auth.clientSecret', 'client_credentials needs'],
  [{ type: 'oauth', clientId: 'c', clientSecret: 's3cret' }, 'auth.issuer', 'who is shown the secret'],
  [{ type: 'oauth', clientSecret: 's3cret', issuer: ISSUER }, 'auth.clientId', 'expected one with clientSecret'],
  [{ type: 'oauth', issuer: 'http://issuer.example' }, 'auth.issuer', 'expected https'],
  [{ type: 'oauth', clientMetadataUrl: 'http://me.example/x' }, 'auth.clientMetadataUrl', 'an https URL with a path'],
  [
    { type: 'oauth', clientMetadataUrl: 'https://me.example/x', clientId: 'c' },
    'auth.clientMetadataUrl',
    'beside clientId',
  ],
  [{ type: 'oauth', clientId: `\${NOT_SET}` }, 'auth.clientId', 'NOT_SET'],
])('%j is told with its place', (auth, field, why) => {
  const { problems, servers } = parse({ url: URL_, auth });
  expect(servers).toEqual([]);
  expect(problems[0]).toMatchObject({ file: 'm.json', server: 'far', field });
  expect(problems[0]?.line).toBeGreaterThan(3);
  expect(problems[0]?.message).toContain(why);
  expect(problems[0]?.message).not.toContain('s3cret');
  if ('clientId' in auth && auth.clientId === `\${NOT_SET}`) return;
  const error = (() => {
    try {
      return checkServerConfig({ name: 'far', url: URL_, auth } as unknown as ServerConfig);
    } catch (failed) {
      return failed;
    }
  })();
  expect(error).toBeInstanceOf(OptionError);
  expect(String(error)).toContain(`servers["far"].${field}`);
  expect(String(error)).not.toContain('s3cret');
});

test('tokens go over plain http to loopback alone, or where private networks are allowed', () => {
  const auth = { type: 'oauth' };
  expect(parse({ url: 'http://far.example/mcp', auth }).problems[0]).toMatchObject({ field: 'url' });
  for (const url of ['http://127.0.0.1/mcp', 'http://localhost:1/mcp', 'http://[::1]/mcp']) {
    expect(parse({ url, auth }).problems).toEqual([]);
  }
  expect(parse({ url: 'http://far.internal/mcp', auth: { ...auth, allowPrivateNetwork: true } }).problems).toEqual([]);
});

test('two tokens for one server are a problem; a program has none; other programs have other words', () => {
  const auth = { type: 'oauth' };
  expect(parse({ url: URL_, auth, headers: { authorization: 'Bearer x' } }).problems[0]?.message).toContain(
    'no Authorization',
  );
  expect(parse({ command: 'x', auth }).warnings[0]).toContain('not used for a program');
  const foreign = parse({ url: URL_, auth: { CLIENT_ID: 'c' }, oauth: { clientId: 'c' } });
  expect([foreign.problems, foreign.servers.length]).toEqual([[], 1]);
  expect(foreign.warnings).toEqual([
    expect.stringContaining('mcp-poolkit auth'),
    expect.stringContaining('mcp-poolkit auth'),
  ]);
});

test('another sign-in is another server to run; without credentials a pool refuses it', () => {
  const config = { name: 'far', url: URL_, auth: { type: 'oauth', scopes: ['a'] } } as const;
  expect(fingerprint(config)).not.toBe(fingerprint({ ...config, auth: { type: 'oauth', scopes: ['b'] } }));
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  expect(() => pool.addServer(config)).toThrow(/auth: .*credentials, as those of UpstreamOAuth/);
});
