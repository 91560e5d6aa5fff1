import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { header, secretUrl } from '../../src/cli/arguments.js';
import { createProgram } from '../../src/cli/program.js';
import { secretText } from '../../src/cli/secretText.js';
import { configFile, MAIN } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';
import { Program } from '../support/program.js';
import { tempFolder } from '../support/tempFolder.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });
afterEach(() => void vi.unstubAllEnvs());

const SECRET = 's3cret-of-the-test';
const BEARER = `Bearer ${SECRET}`;

function secretFile(text: string): string {
  const file = join(tempFolder(), 'secret');
  writeFileSync(file, text);
  return file;
}

test('a header, or several, come from a variable, a file, or variables inside of a text', () => {
  vi.stubEnv('POOLKIT_TOKEN', SECRET);
  vi.stubEnv('POOLKIT_HEADERS', `Authorization: ${BEARER}\nX-Other: a:b`);
  const both = { authorization: BEARER, 'x-other': 'a:b' };
  expect(header(`Authorization: Bearer \${POOLKIT_TOKEN}`)).toEqual({ authorization: BEARER });
  expect(header(`A: \${POOLKIT_NONE:-fallback} $\${POOLKIT_TOKEN}`)).toEqual({ a: `fallback \${POOLKIT_TOKEN}` });
  expect(header('env:POOLKIT_HEADERS')).toEqual(both);
  expect(header(`@${secretFile(`\r\nAuthorization: ${BEARER}\r\n\r\n  X-Other: a:b\n`)}`)).toEqual(both);
  // A header of that name, as headers are written.
  expect(header('env: POOLKIT_HEADERS', both)).toEqual({ ...both, env: 'POOLKIT_HEADERS' });
  expect(secretUrl('--url')(`http://ada:\${POOLKIT_TOKEN}@host`)).toBe(`http://ada:${SECRET}@host`);
});

test('what cannot be had is refused by its source, and no value is told', () => {
  vi.stubEnv('POOLKIT_TOKEN', `${SECRET}\r\nX: y`);
  const folder = tempFolder();
  const told = (take: () => unknown): string => {
    let said = 'nothing was refused';
    try {
      take();
    } catch (error) {
      said = String(error);
    }
    expect(said).not.toContain(SECRET);
    return said;
  };
  const unset = /--redis: got "(env:POOLKIT_NONE|\$\{POOLKIT_NONE\})", expected a variable that is set/;
  expect(told(() => secretText('--redis', 'env:POOLKIT_NONE'))).toMatch(unset);
  expect(told(() => secretText('--redis', `redis://:\${POOLKIT_NONE}@h`))).toMatch(unset);
  expect(told(() => secretText('--redis', `redis://:a\${${SECRET} x@h`))).toMatch(/expected \$\{NAME\} or/);
  expect(told(() => secretText('-H', `@${folder}/none`))).toMatch(/got "@.*\/none", expected a file that can be read/);
  expect(told(() => secretText('-H', `@${folder}`))).toMatch(/expected a file that can be read/);
  expect(told(() => secretText('-H', `@${secretFile(' \n')}`))).toMatch(/expected a file that is not empty/);
  expect(told(() => secretText('-H', '@/dev/zero'))).toMatch(/more than 262144 bytes/);
  expect(told(() => header(`Authorization: \${POOLKIT_TOKEN}`))).toMatch(
    /got "authorization: …"|got "Authorization: …"/,
  );
  expect(told(() => header(`@${secretFile(`A: b\n${SECRET}`)}`))).toMatch(/a text without a name and a colon/);
  vi.stubEnv('POOLKIT_TOKEN', `ftp://${SECRET}`);
  expect(told(() => secretUrl('--url')('env:POOLKIT_TOKEN'))).toMatch(/Expected an http or https URL/);
});

test('every option that takes a secret says how to keep it off the command line', () => {
  const taking = createProgram().commands.flatMap((command) =>
    command.options
      .filter(({ long }) => long !== undefined && ['--header', '--redis', '--session-key'].includes(long))
      .map(({ long, description }) => [`${command.name()} ${long}`, /env:NAME/.test(description)]),
  );
  expect(Object.fromEntries(taking)).toEqual({
    'serve --session-key': true,
    'serve --redis': true,
    'connect --header': true,
    'bench --header': true,
    'status --header': true,
    'top --header': true,
  });
});

test('the commands send what their arguments only name', async () => {
  const heard = new Set<unknown>();
  const front = createServer((request, response) => {
    if (request.headers.authorization === BEARER) heard.add(request.headers['x-from']);
    response.writeHead(404).end();
  }).listen(0, '127.0.0.1');
  const store = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => bytes.toString().includes(SECRET) && heard.add('serve'));
    closeAfter({ close: async () => void socket.destroy() });
  }).listen(0, '127.0.0.1');
  await Promise.all([once(front, 'listening'), once(store, 'listening')]);
  closeAfter({ close: async () => void front.close().closeAllConnections() });
  closeAfter({ close: async () => void store.close() });
  const [url, redis] = [front, store].map((server) => `127.0.0.1:${(server.address() as AddressInfo).port}`);
  const env = { POOLKIT_TOKEN: SECRET, POOLKIT_REDIS: `redis://:${SECRET}@${redis}` };
  const start = (args: readonly string[], under: readonly string[] = []): Program => {
    expect(args.join(' ')).not.toContain(SECRET);
    return new Program(MAIN, { args, env, under });
  };
  const inText = `Authorization: Bearer \${POOLKIT_TOKEN}`;
  const message = ['sh', '-c', `echo '{"jsonrpc":"2.0","id":1,"method":"ping"}' | "$@"`, 'sh'];
  const file = secretFile(`Authorization: ${BEARER}\nX-From: connect\n`);
  start(['status', '--url', `http://${url}`, '-H', inText, 'X-From: status']);
  start(['bench', `http://${url}/mcp`, '--header', inText, 'X-From: bench', '--quiet', '-d', '50ms']);
  // It ends with its input.
  start(['connect', `http://${url}/mcp`, '-H', `@${file}`], message);
  start(['serve', '--config', configFile({}), '--port', '0', '--redis', 'env:POOLKIT_REDIS']);
  const all = ['bench', 'connect', 'serve', 'status'];
  await expect.poll(() => [...heard].sort(), { timeout: 30_000 }).toEqual(all);
});
