import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { auth } from '../../src/cli/auth/auth.js';
import { Cli, configFile, run } from '../support/cli.js';
import { AuthorizationServer, browse, ProtectedServer, page } from '../support/oauth.js';
import { tempFolder } from '../support/tempFolder.js';

test('doctor says how to sign in, auth does it, call and serve use it, logout ends it; no token is printed', async () => {
  const authority = await AuthorizationServer.listen();
  const server = await ProtectedServer.listen(authority);
  const far = { type: 'http', url: server.url, auth: { type: 'oauth', scopes: ['tools'] } };
  const config = configFile({ far, bare: { type: 'http', url: server.url } });
  const tokens = tempFolder();
  const common = ['--config', config, '--tokens', tokens];
  let said = '';
  const ran = async (...args: string[]): ReturnType<typeof run> => {
    const result = await run(...args, ...common);
    said += result.stdout + result.stderr;
    return result;
  };

  const before = await ran('doctor');
  expect(before.stdout).toContain('server "far" needs a sign-in');
  expect(before.stdout).toMatch(/run mcp-poolkit auth far$/m);
  expect(before.stdout).toContain('write "auth": { "type": "oauth" } into its entry, then run mcp-poolkit auth bare');

  const signIn = new Cli('auth', 'far', '--json', ...common);
  const { url, issuer } = await signIn.event('open');
  expect(issuer).toBe(authority.issuer);
  await page(await browse(url as string));
  expect((await signIn.exited).code).toBe(0);
  said += signIn.output + signIn.stderr;
  expect(signIn.events.at(-1)).toMatchObject({ event: 'signed in', server: 'far', signedIn: true, scope: 'tools' });

  const [call, after] = await Promise.all([ran('call', 'far', 'who'), ran('auth', 'far', '--status')]);
  expect([call.code, call.stdout]).toEqual([0, 'it is you']);
  expect(after.stdout).toMatch(/^Signed in to "far" at http.*until 20.*scope tools, renewed by itself/);

  const [file = ''] = readdirSync(join(tokens, 'tokens')).filter((name) => name.endsWith('.json'));
  const grant = JSON.parse(readFileSync(join(tokens, 'tokens', file), 'utf8')) as {
    accessToken: string;
    refreshToken: string;
  };
  const out = await ran('auth', 'far', '--logout');
  expect([out.code, out.stdout]).toEqual([0, 'Signed out of "far"; its authorization server has ended the token.']);
  expect(readdirSync(join(tokens, 'tokens'))).toEqual([]);
  for (const secret of [grant.accessToken, grant.refreshToken]) expect(said).not.toContain(secret);
});

test('auth says what is wrong: no such server, no sign-in in its config, no authorization server', async () => {
  const authority = await AuthorizationServer.listen({
    before: (_, response) => response.writeHead(404).end() !== undefined,
  });
  const config = configFile({
    bare: { url: 'https://far.example/mcp' },
    far: { url: `${authority.issuer}/mcp`, auth: { type: 'oauth' } },
  });
  const said: string[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((text, ...rest) => {
      said.push(String(text));
      for (const done of rest) if (typeof done === 'function') done();
      return true;
    });
  }
  const tokens = tempFolder();
  for (const name of ['fra', 'bare', 'far', 'far']) {
    await auth(name, { config, tokens, timeoutMs: 1_000, status: said.length > 2 });
    expect(process.exitCode).toBe(1);
    process.exitCode = 0;
  }
  vi.restoreAllMocks();
  const [none, bare, far, status] = said;
  expect(none).toContain('no server named "fra"; did you mean');
  expect(bare).toContain('write "auth": { "type": "oauth" } into its entry');
  expect(far).toContain('publishes no metadata of an authorization server');
  expect(status).toBe('Not signed in to "far": run mcp-poolkit auth far\n');
});
