import type { Tool } from '@modelcontextprotocol/client';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { headerValue, paramHeaders } from '../../../src/connection/http/paramHeaders.js';
import { OptionError } from '../../../src/core/errors.js';
import { RUNS } from '../../support/runs.js';

const tool = (properties: object): Tool =>
  ({ name: 't', inputSchema: { type: 'object', properties } }) as unknown as Tool;

test('declared arguments become headers, at any depth, and others do not', () => {
  const definition = tool({
    region: { type: 'string', 'x-mcp-header': 'Region' },
    count: { type: 'integer', 'x-mcp-header': 'Count' },
    dry: { type: 'boolean', 'x-mcp-header': 'Dry-Run' },
    deep: { type: 'object', properties: { er: { type: 'string', 'x-mcp-header': 'Deeper' } } },
    list: { type: 'array', items: { type: 'string', 'x-mcp-header': 'Never' } },
    ratio: { type: 'number', 'x-mcp-header': 'Ratio' },
    bad: { type: 'string', 'x-mcp-header': 'not a token' },
    plain: { type: 'string' },
    toString: { type: 'string', 'x-mcp-header': 'Inherited' },
  });
  const args = { region: 'eu', count: 0, dry: false, deep: { er: 'x' }, list: ['y'], ratio: 0.5, bad: 'b', plain: 'p' };
  expect(paramHeaders(definition, args)).toEqual([
    ...['mcp-param-region', 'eu'],
    ...['mcp-param-count', '0'],
    ...['mcp-param-dry-run', 'false'],
    ...['mcp-param-deeper', 'x'],
  ]);
  expect(paramHeaders(definition, { region: null, count: 2 ** 60, deep: 'no object' })).toEqual([]);
  expect(paramHeaders(definition, undefined)).toEqual([]);
});

test('of very many declared headers the first 256 count', () => {
  const names = Array.from({ length: 300 }, (_, at) => `a${at}`);
  const definition = tool(Object.fromEntries(names.map((name) => [name, { type: 'string', 'x-mcp-header': name }])));
  const args = Object.fromEntries(names.map((name) => [name, 'x']));
  expect(paramHeaders(definition, args)).toEqual(names.slice(0, 256).flatMap((name) => [`mcp-param-${name}`, 'x']));
});

test('any text survives as a header value, and plain text is left alone', () =>
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), (text) => {
      const value = headerValue(text);
      expect(value).toMatch(/^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/);
      const wrapped = /^=\?base64\?(.*)\?=$/.exec(value);
      expect(wrapped === null ? value : Buffer.from(wrapped[1] ?? '', 'base64').toString()).toBe(text);
    }),
    { numRuns: RUNS },
  ));

test('what looks encoded already is encoded, so that it cannot be mistaken', () => {
  expect(headerValue('=?base64?eA==?=')).toBe(`=?base64?${Buffer.from('=?base64?eA==?=').toString('base64')}?=`);
  expect(headerValue('')).toBe('=?base64??=');
  expect(headerValue('plain')).toBe('plain');
});

test('of an argument that comes twice no header is made: its server may read the one that the header does not say', () => {
  const definition = tool({ region: { type: 'string', 'x-mcp-header': 'Region' } });
  const twice = '{"name":"t","arguments":{"region":"evil","region":"eu"}}';
  expect(() => paramHeaders(definition, { region: 'eu' }, twice)).toThrow(OptionError);
  expect(paramHeaders(tool({}), { region: 'eu' }, twice)).toEqual([]);
});
