import { expect, test } from 'vitest';
import { lastWords, plainText } from '../../src/core/errors/lastWords.js';
import { StartError } from '../../src/core/errors.js';

test.each([
  [
    'a throw in Node',
    [
      '[eval]:1',
      "throw new Error('DATABASE_URL is missing')",
      '^',
      '',
      'Error: DATABASE_URL is missing',
      '    at [eval]:1:7',
      '    at runScriptInThisContext (node:internal/vm:209:10)',
      '',
      'Node.js v20.20.2',
    ],
    'Error: DATABASE_URL is missing',
  ],
  [
    'a module that is missing',
    [
      'node:internal/modules/cjs/loader:1210',
      '  throw err;',
      '  ^',
      '',
      "Error: Cannot find module '/x.js'",
      '    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15) {',
      "  code: 'MODULE_NOT_FOUND',",
      '  requireStack: []',
      '}',
      '',
      'Node.js v20.20.2',
    ],
    "Error: Cannot find module '/x.js'",
  ],
  [
    'Python',
    [
      'Traceback (most recent call last):',
      '  File "s.py", line 1, in <module>',
      "ModuleNotFoundError: No module named 'mcp'",
    ],
    "ModuleNotFoundError: No module named 'mcp'",
  ],
  ['a code in brackets', ['Error [ERR_X]: no', '    at f (a.js:1:2)'], 'Error [ERR_X]: no'],
  ['plain words', ['starting', 'cannot bind to port 80'], 'cannot bind to port 80'],
  ['terminal sequences', ['\u001b]0;evil\u0007\u001b[31mbad key\u001b[0m'], 'bad key'],
  ['noise alone', ['', '    at f (a.js:1:2)', 'Node.js v22.1.0'], undefined],
])('%s: the line that says why', (_, lines, words) => {
  expect(lastWords(lines)).toBe(words);
});

test('a failed start says what its program wrote, without what moves a terminal', () => {
  const error = new StartError('s', 'it exited with code 2', {
    stdout: 'Usage: \u001b[1mserver\u001b[0m --port N',
    stderr: ['Node.js v20.20.2'],
  });
  expect(error.message).toBe('server "s" did not start: it exited with code 2 (stdout: Usage: server --port N)');
  expect(error.stderr).toEqual(['Node.js v20.20.2']);
});

test.each([
  ['colours', '\u001b[1;31mError:\u001b[0m no', 'Error: no'],
  ['a title', '\u001b]0;npm\u0007ready', 'ready'],
  ['a title that ends by ST', '\u001b]0;npm\u001b\\ready', 'ready'],
  ['a link', '\u001b]8;;http://x/\u0007here\u001b]8;;\u0007', 'here'],
  ['a C1 sequence', '\u009b2Kready', 'ready'],
  ['a charset and a reset', '\u001b(B\u001bcready', 'ready'],
  ['one that does not end', 'ready\u001b[', 'ready'],
  ['other control characters', 'a\u0000\u0001b', 'a b'],
])('%s of a terminal goes into no message', (_, text, plain) => {
  expect(plainText(text)).toBe(plain);
});

test('what looks like a sequence of a terminal for millions of characters takes a step each', () => {
  for (const [begin, each] of [
    ['\u001b', ';?'],
    ['\u001b[', '1;'],
    ['\u001b]', 'x;'],
    ['', '\u001b'],
  ] as const) {
    expect(plainText(begin + each.repeat(1_000_000)).length).toBeLessThanOrEqual(300);
  }
});
