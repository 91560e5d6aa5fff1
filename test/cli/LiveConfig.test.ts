import { writeFileSync } from 'node:fs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { LiveConfig } from '../../src/cli/config/LiveConfig.js';
import { loadConfig } from '../../src/cli/configs.js';
import { stdioOutput } from '../../src/cli/output/output.js';
import { silentLogger } from '../../src/core/logger.js';
import type { McpPool } from '../../src/pool/McpPool.js';
import { ConfigWatcher } from '../../src/registry/config/watch/ConfigWatcher.js';
import { configFile } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';

/** The config of a pool that applies nothing before it is let to. */
async function slowly(text: string) {
  const file = configFile(text);
  const applied: string[] = [];
  const curated: unknown[] = [];
  let letGo = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const apply: McpPool['apply'] = async (configs) => {
    applied.push([...configs].map(({ name }) => name).join());
    await gate;
    return { added: [], removed: [], restarted: [], unchanged: [] };
  };
  const looks = vi.spyOn(ConfigWatcher.prototype, 'check');
  onTestFinished(() => looks.mockRestore());
  const live = closeAfter(
    new LiveConfig({
      config: await loadConfig(file),
      pool: { apply } as McpPool,
      output: stdioOutput,
      logger: silentLogger,
      start: async () => undefined,
      curate: (curation) => void curated.push(curation),
      usable: (parsed) => {
        if (parsed.servers.some(({ name }) => name === 'throws')) throw new Error('it cannot be looked at');
        return parsed;
      },
      share: (config) => config,
    }),
  );
  /** What the file says is known by then; what came before may still be on its way. */
  const says = async (...names: string[]): Promise<{ readonly taken: Promise<boolean> }> => {
    writeFileSync(file, servers(...names));
    const taken = live.reload();
    await looks.mock.results.at(-1)?.value;
    return { taken };
  };
  return { file, live, applied, curated, says, letGo };
}

const servers = (...names: string[]): string =>
  JSON.stringify({ mcpServers: Object.fromEntries(names.map((name) => [name, { command: name }])) });

test('a change is taken at once, with its rules, while servers of one before it are still ending', async () => {
  const { applied, curated, file, live, says } = await slowly(servers('a'));
  expect(await (await says('b')).taken).toBe(true);
  expect(await (await says('b', 'c')).taken).toBe(true);
  expect(applied).toEqual(['b', 'b,c']);
  writeFileSync(file, JSON.stringify({ mcpServers: { b: { command: 'b', tools: { deny: ['echo'] } } } }));
  expect(await live.reload()).toBe(true);
  expect(curated).toEqual([{ servers: { b: { deny: ['echo'] } } }]);
});

test('a change that cannot be looked at is told, and the next one is taken', async () => {
  const complaints = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  onTestFinished(() => complaints.mockRestore());
  const { applied, says, letGo } = await slowly(servers('a'));
  letGo();
  await (await says('throws')).taken;
  expect(complaints.mock.calls.join()).toContain('could not be applied: it cannot be looked at');
  expect(await (await says('next')).taken).toBe(true);
  expect(applied).toEqual(['next']);
});

test('a change that was found before it is asked for is one all the same, once', async () => {
  const { file, live, applied, letGo } = await slowly(servers('a'));
  writeFileSync(file, servers('b'));
  await vi.waitFor(() => expect(applied).toEqual(['b']), 30_000);
  const [first, same] = [live.reload(), live.reload()];
  letGo();
  expect(await Promise.all([first, same])).toEqual([true, true]);
  expect(await live.reload()).toBe(false);
});
