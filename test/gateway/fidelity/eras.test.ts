import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test, vi } from 'vitest';
import { dualEraConfig, dualEraGateway } from '../../support/dualEra.js';
import type { ClientKind, Face } from './clients/Face.js';
import { SDK_V1 } from './clients/kinds/sdkV1.js';
import { SDK_V2 } from './clients/kinds/sdkV2.js';
import { STEPS } from './clients/steps.js';

/** What crosses where client and server speak different eras, by the steps of the official clients: docs/eras.md. */

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const PINNED = SDK_V2[2] as ClientKind;

const runOf = (face: Face, label: string) => (name: string) => {
  const step = STEPS.find((each) => each.name === name);
  if (step === undefined) throw new Error(`no step ${name}`);
  return step.run(face, { label, pass: async () => undefined });
};

for (const { name, kind, only } of [
  { name: 'a legacy client of a server of the modern era alone', kind: SDK_V1, only: 'modern' },
  { name: 'a modern client of a server of the legacy era alone', kind: PINNED, only: 'legacy' },
] as const) {
  test(`${name} subscribes, is told of changes, log lines and progress, cancels, and learns what is not there`, async () => {
    const { path } = await dualEraGateway(await dualEraConfig('http', { only }));
    const face = await kind.connect(path);
    const step = runOf(face, name);
    expect(face.modern).toBe(only === 'legacy');
    if (!face.modern) expect(await step('log level')).toEqual({ value: {} });
    expect(await step('logs')).toMatchObject({
      logs: ['Tool execution started', 'Tool processing data', 'Tool execution completed'].map((data) => ({ data })),
    });
    expect(await step('progress')).toMatchObject([0, 50, 100].map((progress) => ({ progress, total: 100 })));
    expect(await step('subscribe')).toBe('subscribed');
    expect(await step('updates')).toMatchObject({ updated: true, uri: 'test://watched-resource' });
    expect(await step('list changes')).toEqual({ tools: true, prompts: true });
    expect(await step('cancel')).toMatchObject({ told: true });
    const { 'unknown resource': missing } = (await step('errors')) as Record<string, unknown>;
    // Modern: -32602 with the URI. A legacy client is told as the modern server tells it.
    expect(missing).toMatchObject({ error: { code: -32_602, data: { uri: 'test://no-such-resource' } } });
    expect(await step('ping')).toMatchObject(face.modern ? { error: {} } : { value: {} });
    await step('close');
  });
}

test('every test that docs/eras.md names is there', () => {
  const root = resolve(import.meta.dirname, '../../..');
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' });
  const rows = readFileSync(join(root, 'docs/eras.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('|') && !line.startsWith('|---') && !line.includes('shown by'));
  expect(rows.length).toBeGreaterThan(15);
  for (const row of rows) {
    const cell = row.split('|').at(-2) ?? '';
    const named = [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
    const missing = named.filter(
      (name) => !files.some((file) => `test/${file}`.endsWith(`/${name.replace(/^test\//, '')}.test.ts`)),
    );
    expect([row, missing]).toEqual([row, []]);
    expect([row, named.length > 0 || cell.includes('suite')]).toEqual([row, true]);
  }
});
