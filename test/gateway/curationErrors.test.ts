import { expect, test } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { Curation } from '../../src/registry/config/curation/Curation.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';

test('a curation that cannot be meant is an OptionError that names the place, and changes nothing', () => {
  const gateway = closeAfter(new Gateway({ pool: new FakePool({ a: {} }), port: 0 }));
  const table: [unknown, RegExp][] = [
    [{ prefix: 'dot' }, /curation\.prefix/],
    [{ servers: { a: { alow: [] } } }, /curation\.servers\.a.*alow/],
    [{ servers: { a: { rename: { x: 'y', z: 'y' } } } }, /curation\.servers\.a\.rename\.z/],
    [{ servers: { a: { rename: { x: 'a b' } } } }, /curation\.servers\.a\.rename\.x/],
    [{ groups: { 'a/b': {} } }, /curation\.groups/],
  ];
  for (const [curation, message] of table) {
    expect(() => gateway.curate(curation as Curation)).toThrow(OptionError);
    expect(() => gateway.curate(curation as Curation)).toThrow(message);
  }
});
