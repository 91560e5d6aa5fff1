import { expect, test } from 'vitest';
import { asText, type Findings } from '../../src/cli/doctor/report.js';

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
