import fc from 'fast-check';
import { expect, test } from 'vitest';
import { escapeVariables, expandVariables } from '../../../src/registry/config/expandVariables.js';

const text = (source: string, variables = {}) => {
  const expansion = expandVariables(source, variables);
  return 'text' in expansion ? expansion.text : undefined;
};
const problem = (source: string, variables = {}) => {
  const expansion = expandVariables(source, variables);
  return 'problem' in expansion ? expansion.problem : undefined;
};

test('a reference becomes its value, a default stands in for an unset or empty one', () => {
  const variables = { HOME: '/home/ada', EMPTY: '' };
  expect(text(`\${HOME}/x\${EMPTY}y`, variables)).toBe('/home/ada/xy');
  expect(text(`\${NONE:-a:-b}|\${EMPTY:-c}|\${HOME:-d}|\${NONE:-}`, variables)).toBe('a:-b|c|/home/ada|');
});

test('a dollar, a brace and an escaped reference stay text', () => {
  expect(text(`$ {HOME} $HOME } $\${HOME} $$ \${A}`, { A: '1' })).toBe(`$ {HOME} $HOME } \${HOME} $$ 1`);
});

test('an unset variable and a form that is not known are problems that name it', () => {
  expect(problem(`a\${TOKEN}b`)).toContain('variable TOKEN is not set');
  for (const bad of [`\${input:key}`, `\${}`, `\${1A}`, `\${A`, `\${A-b}`]) {
    expect(problem(bad, { A: '1' }), bad).toContain('is not understood');
  }
  expect(problem(`\${A} \${B}`)).toMatch(/A is not set.*; .*B is not set/);
});

test('names that objects inherit are not variables', () => {
  expect(problem(`\${constructor}`)).toContain('not set');
});

test('values go in verbatim, whatever they contain', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (before, value, after) => {
      fc.pre(!before.endsWith('$')); // right before a reference it would escape it
      const source = `${escapeVariables(before)}\${V}${escapeVariables(after)}`;
      expect(text(source, { V: value })).toBe(before + value + after);
    }),
  );
});

test('what is escaped expands to itself, for texts full of references', () => {
  const pieces = fc.array(fc.constantFrom('$', '${', '$${', '}', 'A', ':-', ' '), { maxLength: 20 });
  fc.assert(
    fc.property(pieces, (each) => {
      expect(text(escapeVariables(each.join('')))).toBe(each.join(''));
    }),
  );
});

test('a text is expanded in time linear in its length', () => {
  expect(problem('${'.repeat(50_000))).toContain('is not understood');
  expect(text(`${'$${'.repeat(50_000)}`)).toHaveLength(100_000);
});
