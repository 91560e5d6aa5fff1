// Writes mcp.schema.json, the JSON Schema of config files, out of what the parser checks; its descriptions are the doc
// comments of `ServerConfig`. `--check` writes nothing and says what differs. It reads dist/: `npm run build` first.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { gatewaySchema } from '../.build/lib/registry/config/curation/checkCuration.js';
import { entrySchema } from '../.build/lib/registry/config/entrySchema.js';
import { interfacesIn, membersOf } from './options/declarations.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const FILE = 'mcp.schema.json';
/** Where each field's meaning is written. */
const DECLARATIONS = ['ServerConfig', 'targets/SeveralSettings', 'OAuthSettings', 'curation/Curation'].map(
  (name) => `${root}/dist/registry/config/${name}.d.ts`,
);
/** One of them says how a server is reached; the last three are the words of other programs. */
const REACHED_BY = ['command', 'url', 'targets', 'cmd', 'httpUrl', 'serverUrl'];
/** What stands in files only. */
const OWN_WORDS = {
  type: 'How the server is reached. Left out: a program with `command`, found out with `url`.',
  disabled: '`true` registers it without letting it start.',
  tools: 'What clients see of its tools.',
  gateway: 'What clients see of all servers together.',
  mcpServers: 'The servers, by name.',
};

/** `property: meaning` of every documented property of the declarations; the first that is found counts. */
function meanings() {
  const found = new Map(Object.entries(OWN_WORDS));
  for (const file of DECLARATIONS) {
    for (const name of interfacesIn(file)) {
      for (const { name: property, of, words, standard } of membersOf(file, name)) {
        if (of !== name || words === '' || found.has(property)) continue;
        found.set(property, standard === undefined ? words : `${words} Default: ${standard}`);
      }
    }
  }
  return found;
}

function described(schema, words) {
  if (Array.isArray(schema)) return schema.map((each) => described(each, words));
  if (typeof schema !== 'object' || schema === null) return schema;
  return Object.fromEntries(
    // JSON has no Infinity: no maximum is no bound.
    Object.entries(schema)
      .filter(([, value]) => value !== null)
      .map(([key, value]) => {
        if (key !== 'properties') return [key, described(value, words)];
        const properties = Object.entries(value).map(([name, each]) => {
          const description = words.get(name);
          return [name, { ...(description !== undefined && { description }), ...described(each, words) }];
        });
        return [key, Object.fromEntries(properties)];
      }),
  );
}

const jsonSchema = (schema) => z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', target: 'draft-7' });
const { $schema: _, ...entry } = jsonSchema(entrySchema);
const { $schema: __, ...gateway } = jsonSchema(gatewaySchema);
const schema = described(
  {
    title: 'Config of mcp-poolkit: MCP servers by name',
    type: 'object',
    properties: {
      $schema: { type: 'string' },
      mcpServers: { type: 'object', additionalProperties: { $ref: '#/definitions/server' } },
      gateway,
    },
    required: ['mcpServers'],
    // Fields of other programs are allowed; what says how the server is reached must be there.
    definitions: {
      server: { ...entry, anyOf: REACHED_BY.map((field) => ({ required: [field] })), additionalProperties: true },
    },
  },
  meanings(),
);
const text = `${JSON.stringify({ $schema: 'http://json-schema.org/draft-07/schema#', ...schema }, undefined, 2)}\n`;
if (!process.argv.includes('--check')) writeFileSync(`${root}/${FILE}`, text);
else if (readFileSync(`${root}/${FILE}`, 'utf8') !== text) {
  console.error(`${FILE} is not what the parser's schema makes: node scripts/schema.mjs`);
  process.exit(1);
}
