import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test, vi } from 'vitest';
import { stopBudgetMs } from '../../src/cli/stopTimes.js';
import { checkGatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { HEALTH_DEFAULTS } from '../../src/shutdown/index.js';
import { Cli, configFile } from '../support/cli.js';
import { FakePool } from '../support/FakePool.js';
import { exchange } from '../support/httpClient.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';
import { at, readYaml, type Yaml } from '../support/yaml.js';

// A program starts here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const root = resolve(import.meta.dirname, '../..');
const documents = readYaml(readFileSync(resolve(root, 'deploy/kubernetes.yaml'), 'utf8'));
const deployment = documents.find((each) => at(each, 'kind') === 'Deployment');
const pod = at(deployment, 'spec', 'template', 'spec');
const proxy = at(pod, 'containers', 0);
const args = (at(proxy, 'args') as readonly Yaml[]).map(String);
const optionOf = (option: string): string => args[args.indexOf(option) + 1] ?? '';

test('the manifest holds what its four documents should', () => {
  expect(documents.map((each) => at(each, 'kind'))).toEqual([
    'ConfigMap',
    'Deployment',
    'Service',
    'PodDisruptionBudget',
  ]);
  expect(JSON.parse(String(at(documents[0], 'data', 'mcp.json')))).toHaveProperty('mcpServers.everything.command');
  expect(at(proxy, 'args')).toContain('serve');
});

test('the pod is given the time that preStop, the plan and a margin add up to, as the guide says', () => {
  const graceS = Number(at(pod, 'terminationGracePeriodSeconds'));
  const preStopS = Number(at(proxy, 'lifecycle', 'preStop', 'sleep', 'seconds'));
  const totalS = stopBudgetMs({ graceMs: Number(optionOf('--grace-ms')), propagationDelayMs: 0 }) / 1_000;
  const marginS = graceS - preStopS - totalS;
  expect(marginS).toBeGreaterThanOrEqual(2);
  expect(marginS).toBeLessThanOrEqual(10);
  const guide = readFileSync(resolve(root, 'docs/kubernetes.md'), 'utf8');
  expect(guide).toContain(`${preStopS} s + ${totalS} s + ${marginS} s = ${graceS} s`);
});

test('probes ask what is served, are patient enough for the checks, and see a pod that stops in time', () => {
  expect(at(proxy, 'livenessProbe', 'httpGet', 'path')).toBe('/livez');
  expect(at(proxy, 'startupProbe', 'httpGet', 'path')).toBe('/livez');
  expect(at(proxy, 'readinessProbe', 'httpGet', 'path')).toBe('/readyz');
  for (const probe of ['livenessProbe', 'readinessProbe']) {
    expect(Number(at(proxy, probe, 'timeoutSeconds')) * 1_000).toBeGreaterThan(HEALTH_DEFAULTS.timeoutMs);
    expect(at(proxy, probe, 'httpGet', 'port')).toBe(at(proxy, 'ports', 0, 'name'));
  }
  const times = (probe: string): number =>
    Number(at(proxy, probe, 'periodSeconds')) * Number(at(proxy, probe, 'failureThreshold'));
  // A pod that is broken is out of the way before it is restarted, and a slow start is not taken for a broken one.
  expect(times('readinessProbe')).toBeLessThan(times('livenessProbe'));
  expect(times('startupProbe')).toBeGreaterThanOrEqual(60);
});

function keyFile(): string {
  const file = join(tempFolder(), 'session.key');
  writeFileSync(file, randomBytes(32).toString('base64'));
  return file;
}

/** The program with the manifest's arguments, but for its config, address and port. */
async function serving(server: object, ...more: string[]): Promise<{ readonly program: Cli; readonly port: string }> {
  const own: Record<string, string> = {
    '--config': configFile({ everything: server }),
    '--host': '127.0.0.1',
    '--port': '0',
    '--session-key': keyFile(),
  };
  const given = args.map((arg, index) => own[args[index - 1] ?? ''] ?? arg);
  const program = new Cli(...given, '--json', ...more);
  return { program, port: new URL(String((await program.event('ready'))['url'])).port };
}

test('what the manifest starts is what its probes and its service ask for', async () => {
  const echo = { command: process.execPath, args: [fixture('echo-server.mjs')] };
  const { program, port } = await serving(echo);
  const get = (path: string, host: string) =>
    exchange(`http://127.0.0.1:${port}${path}`, { method: 'GET', headers: { host } });
  for (const name of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
    const probe = at(proxy, name, 'httpGet');
    const host = String(at(probe, 'httpHeaders', 0, 'value'));
    for (const each of [host, '10.1.2.3:3399', '[fd00::1]:3399']) {
      const { status, text } = await get(String(at(probe, 'path')), each);
      expect([status, JSON.parse(text)], each).toEqual([200, expect.objectContaining({ ok: true, status: 'ok' })]);
    }
  }
  expect((await get('/readyz', 'rebound.example')).status).toBe(403);
  expect((await get('/mcp', 'rebound.example')).status).toBe(403);
  const service = String(
    at(
      documents.find((each) => at(each, 'kind') === 'Service'),
      'metadata',
      'name',
    ),
  );
  for (const host of [service, `${service}.default.svc.cluster.local`]) {
    expect((await get('/mcp', host)).status, host).toBe(400); // a session is missing, no right to ask
  }
  program.kill('SIGTERM');
  expect((await program.exited).code).toBe(0);
  const allowedHosts = args.slice(args.indexOf('--allow-host') + 1);
  const pool = new FakePool({});
  expect(() => checkGatewayOptions({ pool, host: optionOf('--host'), allowedHosts })).not.toThrow();
});

test('from the first moment of a stop /readyz says no and /livez yes, while calls are served on for the delay', async () => {
  const echo = { command: process.execPath, args: [fixture('echo-server.mjs')] };
  const { program, port } = await serving(echo, '--propagation-delay', '1000');
  expect((await program.event('ready'))['stopMs']).toBe(31_000);
  const get = (path: string) => exchange(`http://127.0.0.1:${port}${path}`, { method: 'GET' });
  program.kill('SIGTERM');
  await program.event('stopping');
  const [ready, live, mcp] = await Promise.all([get('/readyz'), get('/livez'), get('/mcp')]);
  expect([ready.status, JSON.parse(ready.text)]).toEqual([503, expect.objectContaining({ status: 'stopping' })]);
  expect([live.status, mcp.status]).toEqual([200, 400]);
  expect(ready.headers.connection).toBe('close');
  const { code } = await program.exited;
  const stopped = program.events.find(({ event }) => event === 'stopped');
  expect([code, Number(stopped?.['ms']) >= 1_000]).toEqual([0, true]);
});
