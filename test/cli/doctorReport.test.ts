import { expect, test, vi } from 'vitest';
import { asText, type Findings } from '../../src/cli/doctor/report.js';
import { schemaMistakes } from '../../src/cli/doctor/schemaMistakes.js';

const FORGED = 'a\r\nfiles  ok  nothing is wrong\u2028\u0085';

test('what a server or a config wrote ends no line of the report', () => {
  const server = {
    name: 's',
    verdict: 'failed',
    transport: 'stdio',
    problems: [FORGED],
    advice: [FORGED],
    toolNames: [],
  };
  const config = { file: 'mcp.json', problems: [{ message: FORGED }], warnings: [FORGED], curation: {} };
  const text = asText({ config, servers: [server], ok: false } as unknown as Findings);
  expect(text.split(/[\r\n\u2028\u0085]/)).toHaveLength(7);
  expect(text).not.toMatch(/^files/m);
});

test('of tens of thousands of mistakes in schemas a few are made into texts, and the others counted', () => {
  const looked = vi.fn();
  const required = Array.from({ length: 10_000 }, () => ({ toJSON: looked }));
  const properties = { ['p'.repeat(1e6)]: { type: 1 } };
  const tools = ['a', 'b'].map((name) => ({ name, inputSchema: { type: 'object', required, properties } }));
  const told = schemaMistakes(tools as unknown as Parameters<typeof schemaMistakes>[0]);
  expect(told).toEqual([
    ...new Array(5).fill('tool "a": inputSchema.required names an object, which is no property'),
    '19997 more of the kind',
  ]);
  expect(looked).not.toHaveBeenCalled();
  const deep = schemaMistakes([{ name: 'a', inputSchema: { type: 'object', properties } }] as unknown as Parameters<
    typeof schemaMistakes
  >[0]);
  expect(deep.map(({ length }) => length)).toEqual([2_000]);
});

test('names that many servers share are a line for the same servers', () => {
  const names = (count: number): string[] => Array.from({ length: count }, (_, n) => `t${n}`);
  const servers = Object.entries({ a: 1_000, b: 1_000, c: 1 }).map(([name, count]) => ({
    name,
    verdict: 'ok',
    transport: 'stdio',
    problems: [],
    advice: [],
    toolNames: names(count),
  }));
  const config = { file: 'mcp.json', problems: [], warnings: [], curation: {} };
  const text = asText({ config, servers, ok: true } as unknown as Findings);
  expect(text.split('\n').filter((line) => line.includes('all have'))).toEqual([
    '  note    a, b, c all have a tool t0: clients see a__t0, b__t0, c__t0',
    '  note    a, b all have 999 tools of the same names: t1, t2, t3, and 996 more: ' +
      'clients see a__t1, b__t1, a__t2, b__t2, a__t3, b__t3, and so on',
  ]);
});
