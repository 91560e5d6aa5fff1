import type { Tool } from '@modelcontextprotocol/client';
import { expect, test, vi } from 'vitest';
import { ToolRanking } from '../../src/gateway/curation/ToolRanking.js';
import { ToolSearch } from '../../src/gateway/curation/ToolSearch.js';
import type { Era } from '../../src/registry/config/ServerConfig.js';
import { countTurns } from '../support/countTurns.js';

const never = new AbortController().signal;
const tool = (name: string, description = '', args: readonly string[] = []): Tool => ({
  name,
  description,
  inputSchema: { type: 'object', properties: Object.fromEntries(args.map((arg) => [arg, {}])) },
});

async function namesFor(tools: readonly Tool[], query: string): Promise<string[]> {
  return (await new ToolRanking().best(() => tools, query, never)).map(({ name }) => name);
}

test('names count more than descriptions, rare words more than frequent ones, whole words more than beginnings', async () => {
  const tools = [
    tool('git__log', 'Shows what was read or written'),
    tool('files__readable', 'Lists files'),
    tool('files__read', 'Gives a file'),
    tool('files__write', 'Puts a file', ['path', 'encoding']),
  ];
  expect(await namesFor(tools, 'read')).toEqual(['files__read', 'files__readable', 'git__log']);
  expect((await namesFor(tools, 'files encoding'))[0]).toBe('files__write');
  expect((await namesFor(tools, 'encodng'))[0]).toBe('files__write');
  expect(await namesFor(tools, 'nothing?!')).toEqual([]);
  expect(await namesFor(tools, '?!')).toEqual([]);
});

test('whatever a list is made of, the event loop turns while it is looked through, and a search waits for the one before', async () => {
  const many = Array.from({ length: 10_000 }, (_, i) => tool(`tool_${i}`, `read file list ${i} ${'abcd '.repeat(40)}`));
  const long = Array.from({ length: 100 }, (_, i) => tool(`tool_${i}`, `${'aB'.repeat(40_000)} tail`));
  const ranking = new ToolRanking();
  const sort = vi.spyOn(Array.prototype, 'sort');
  using turns = countTurns();
  const [first, second] = await Promise.all([
    ranking.best(() => many, 'abcd', never),
    ranking.best(() => many, '9999', never),
  ]);
  expect(turns.count).toBeGreaterThan(5);
  expect([first.length, second[0]?.name]).toEqual([10_000, 'tool_9999']);
  // To sort all that is found would be one long step.
  for (const sorted of sort.mock.contexts as unknown[][]) expect(sorted.length).toBeLessThan(1_000);
  sort.mockRestore();
  // What stands behind the first part of a description is not read.
  expect(await ranking.best(() => long, 'tail', never)).toEqual([]);
  const given = AbortSignal.abort(new Error('gone'));
  await expect(ranking.best(() => many, 'abcd', given)).rejects.toThrow('gone');
  // Cancelled on its way it looks no further, and the next one begins.
  const controller = new AbortController();
  const cancelled = ranking.best(() => Array.from({ length: 20 }, () => many).flat(), 'abcd', controller.signal);
  setImmediate(() => controller.abort(new Error('left')));
  await expect(cancelled).rejects.toThrow('left');
});

test('whose searches are many do not hold up those of others', async () => {
  const ranking = new ToolRanking();
  const tools = [tool('files__read')];
  const ended: string[] = [];
  const search = (owner: string): Promise<unknown> =>
    ranking.best(() => tools, 'read', never, owner).then(() => ended.push(owner));
  const many = Array.from({ length: 50 }, () => search('many'));
  await Promise.all([search('one'), search('another')]);
  expect(ended.length).toBeLessThan(6);
  await Promise.all([...many, search('one')]);
  expect(ended).toHaveLength(53);
  const gone = AbortSignal.abort(new Error('gone'));
  await expect(ranking.best(() => tools, 'read', gone, 'one')).rejects.toThrow('gone');
  expect(await ranking.best(() => tools, 'read', never, 'one')).toEqual(tools);
});

test('searches and descriptions that wait have no list made for them', async () => {
  const search = new ToolSearch();
  let made = 0;
  let go = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    go = resolve;
  });
  const list = async (): Promise<readonly Tool[]> => {
    made++;
    await first;
    return [tool('files__read')];
  };
  const searches = ['read', ''].map((query) => search.search(list, { query }, never, 'one'));
  const find = async (name: unknown): Promise<Tool | undefined> => {
    made++;
    return name === 'files__read' ? tool(name) : undefined;
  };
  const found = ['files__read', 'other'].map((name) => search.describe(find, name, 'legacy', never));
  await new Promise(setImmediate);
  expect(made).toBe(1);
  go();
  const [described, unknown] = await Promise.allSettled(found);
  expect(String(described?.status === 'fulfilled' && described.value)).toContain('files__read');
  expect(unknown).toMatchObject({ reason: { message: 'unknown tool: other' } });
  for (const { content } of await Promise.all(searches)) expect(JSON.stringify(content)).toContain('files__read');
  expect(made).toBe(4);
});

test('those who ask for the same tool at a time share what is written of it, and who has left is not written for', async () => {
  const search = new ToolSearch();
  const long = tool('files__read', '"é\u2028'.repeat(1_000));
  const ask = (era: Era, signal = never) => search.describe(async () => long, long.name, era, signal);
  const stringify = vi.spyOn(JSON, 'stringify');
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(i % 2 === 0 ? 'legacy' : 'modern')));
  expect(stringify).toHaveBeenCalledTimes(4);
  await expect(ask('modern', AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  expect(stringify).toHaveBeenCalledTimes(4);
  stringify.mockRestore();
  expect(new Set(answers).size).toBe(2);
  const content = [{ type: 'text', text: JSON.stringify(long) }];
  expect(JSON.parse(String(answers[0]))).toEqual({ content });
  expect(JSON.parse(String(answers[1]))).toEqual({ resultType: 'complete', content });
  // Of another version of the tool nothing is known.
  const newer = await search.describe(async () => tool(long.name, 'newer'), long.name, 'legacy', never);
  expect(String(newer)).toContain('newer');
});
