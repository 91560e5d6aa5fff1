import { execFileSync, spawn } from 'node:child_process';
import { createReadStream, createWriteStream, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readScenario } from '../../../src/bench/workload/Scenario.js';
import { readSessionKeys } from '../../../src/cli/serving/readSessionKeys.js';
import { readNamed, readStream, readWhole, readWholeSync } from '../../../src/core/files/readWhole.js';
import { ConfigWatcher, type ParsedConfig, readConfigFile } from '../../../src/registry/index.js';
import { planState } from '../../../src/testing/fake/planState.js';
import { run } from '../../support/cli.js';
import { closeAfter } from '../../support/closeAfter.js';
import { tempFolder } from '../../support/tempFolder.js';

test('a file, and what is not there', async () => {
  const file = join(tempFolder(), 'a.json');
  writeFileSync(file, '{"ü":1}');
  expect(await readWhole(file)).toBe('{"ü":1}');
  await expect(readWhole(`${file}.not`)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('UTF-16 is read by its mark, as PowerShell writes it', async () => {
  const file = join(tempFolder(), 'mcp.json');
  const text = '\uFEFF{ "mcpServers": { "ü": { "command": "x" } } }';
  const little = Buffer.from(text, 'utf16le');
  for (const bytes of [little, Buffer.from(little).swap16(), Buffer.concat([little, Buffer.of(0x0a)])]) {
    writeFileSync(file, bytes);
    expect([await readWhole(file), readWholeSync(file)]).toEqual([text, text]);
    expect(await readConfigFile(file)).toMatchObject({ servers: [{ name: 'ü', command: 'x' }], problems: [] });
  }
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

const ENDLESS = '/dev/zero';

test('what has no end is refused at its bound, whatever reads it', async () => {
  const says = 'it has more than 8388608 bytes';
  await expect(readWhole(ENDLESS)).rejects.toThrow(says);
  await expect(readNamed(ENDLESS, 100_000)).rejects.toThrow(`${ENDLESS} cannot be read: it has more than 100000 bytes`);
  expect(() => readWholeSync(ENDLESS)).toThrow(says);
  await expect(readStream(createReadStream(ENDLESS), 100_000)).rejects.toThrow('it has more than 100000 bytes');
  await expect(readSessionKeys([ENDLESS])).rejects.toThrow(says);
  await expect(readScenario(ENDLESS)).rejects.toThrow('it has more than 262144 bytes');
  expect(() => planState(ENDLESS)).toThrow(says);
  const folder = tempFolder();
  const odd = join(folder, 'odd.json');
  writeFileSync(odd, '{"rules":[[]]}');
  expect(() => planState(odd)).toThrow(/stateFile: got .* it has no rules, draws and counts/);
  const { code, stderr } = await run('import', ENDLESS, '--out', join(folder, 'mcp.json'));
  expect([code, stderr]).toEqual([1, expect.stringContaining(`${ENDLESS} cannot be read: ${says}`)]);
  const file = join(folder, 'a');
  writeFileSync(file, 'ü'.repeat(100_000));
  expect(readWholeSync(file)).toBe('ü'.repeat(100_000));
  expect(await readStream(createReadStream(file))).toBe('ü'.repeat(100_000));
});

/** Files that are ours, or the system's. */
const OWN: ReadonlySet<string> = new Set([
  'cli/doctor/memory.ts',
  'cli/serving/openFilesLimit.ts',
  'cli/desk/OwnAgent.ts',
]);

test('no command reads a file that it is given without a bound', () => {
  const sources = join(import.meta.dirname, '../../../src');
  const unbounded = ['cli', 'bench/workload', 'testing/fake'].flatMap((folder) =>
    readdirSync(join(sources, folder), { recursive: true, encoding: 'utf8' })
      .map((file) => `${folder}/${file}`)
      .filter((file) => file.endsWith('.ts') && /\breadFile(Sync)?\(/.test(readFileSync(join(sources, file), 'utf8'))),
  );
  expect(unbounded.filter((file) => !OWN.has(file))).toEqual([]);
});
