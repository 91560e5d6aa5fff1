import { execFileSync, spawn } from 'node:child_process';
import { createWriteStream, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readWhole } from '../../../src/core/files/readWhole.js';
import { ConfigWatcher, type ParsedConfig, readConfigFile } from '../../../src/registry/index.js';
import { closeAfter } from '../../support/closeAfter.js';
import { tempFolder } from '../../support/tempFolder.js';

test('a file, and what is not there', async () => {
  const file = join(tempFolder(), 'a.json');
  writeFileSync(file, '{"ü":1}');
  expect(await readWhole(file)).toBe('{"ü":1}');
  await expect(readWhole(`${file}.not`)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a pipe is read to its end, however late and in however many pieces it is written', async () => {
  const pipe = join(tempFolder(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const text = readWhole(pipe);
  const writer = createWriteStream(pipe);
  writer.write('{"a":');
  await new Promise((resolve) => setTimeout(resolve, 60));
  const large = 'x'.repeat(300_000);
  writer.end(`"${large}"}`);
  expect(await text).toBe(`{"a":"${large}"}`);
});

test('a pipe without a writer holds the process open for no longer than it is waited for', async () => {
  const pipe = join(tempFolder(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const module = new URL('../../../.build/lib/core/files/readWhole.js', import.meta.url).href;
  const script = `import { readWhole } from ${JSON.stringify(module)};
    readWhole(${JSON.stringify(pipe)}).catch((error) => console.log(error.message)); setTimeout(() => process.exit(7), 200);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
  // Stuck in `open`, the process would not end at its own `exit`.
  expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(7);
});

test('a file above 8 MiB is refused, not read: a config that is something else ends no program', async () => {
  const file = join(tempFolder(), 'huge.json');
  writeFileSync(file, '{}');
  const watcher = closeAfter(new ConfigWatcher({ file, pollMs: 10, settleMs: 10 }));
  const told = new Promise<ParsedConfig>((resolve) => {
    watcher.on('change', (parsed) => {
      if (parsed.problems[0]?.message.includes('bytes') === true) resolve(parsed);
    });
  });
  truncateSync(file, 9 * 1_024 * 1_024);
  await expect(readWhole(file)).rejects.toThrow('it has more than 8388608 bytes');
  const { servers, problems } = await readConfigFile(file);
  expect([servers, problems.map(({ message }) => message)]).toEqual([[], [expect.stringContaining('8388608 bytes')]]);
  expect((await told).problems).toHaveLength(1);
});
