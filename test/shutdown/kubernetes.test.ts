import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { HEALTH_DEFAULTS, SHUTDOWN_DEFAULTS } from '../../src/shutdown/index.js';
import { at, readYaml } from '../support/yaml.js';

const root = resolve(import.meta.dirname, '../..');
const documents = readYaml(readFileSync(resolve(root, 'deploy/kubernetes.yaml'), 'utf8'));
const deployment = documents.find((each) => at(each, 'kind') === 'Deployment');
const pod = at(deployment, 'spec', 'template', 'spec');
const proxy = at(pod, 'containers', 0);

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
  const totalS = SHUTDOWN_DEFAULTS.totalMs / 1_000;
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
