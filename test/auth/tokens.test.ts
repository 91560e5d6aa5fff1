import { OAuthError } from '@modelcontextprotocol/client';
import { expect, test } from 'vitest';
import { failedAt, grantOf } from '../../src/auth/tokens.js';

const failed = (said: string, secret: string | undefined): string =>
  failedAt({ name: 'far' } as never, { issuer: 'https://issuer.example' } as never, new Error(said), [
    undefined,
    '',
    secret,
  ]).message;

test('what an authorization server repeats of a secret is blotted out, however it was encoded on its way', () => {
  for (const secret of ['s3cr3t-value', 's3/+=&ü "x', 'ab']) {
    const basic = (credentials: string, as: BufferEncoding): string => Buffer.from(credentials, as).toString('base64');
    const forms = [
      secret,
      encodeURIComponent(secret),
      new URLSearchParams({ a: secret }).toString().slice(2),
      basic(`client:${secret}`, 'utf8'),
      basic(`client:${secret}`, 'latin1'),
      basic(`client:${encodeURIComponent(secret)}`, 'utf8'),
      Buffer.from(`c:${secret}`).toString('base64url'),
    ];
    for (const form of forms) {
      for (const said of [`no: Basic ${form}`, `x/${form}`, form]) {
        const message = failed(said, secret);
        expect(message, said).toContain('***');
        expect(message, said).not.toContain(form);
      }
    }
  }
  expect(failed('invalid_grant: the refresh token is too old', 's3cr3t-value')).toContain(
    'the refresh token is too old',
  );
  expect(failed('no secret at all', undefined)).toContain('no secret at all');
});

test('of a long error its beginning is looked at, and no beginning of a secret is told', () => {
  const long = 'aaaa '.repeat(50_000);
  const secret = `${'ab'.repeat(10_000)}+`;
  expect(failed(long, secret)).toMatch(/an error of 250000 characters/);
  expect(failed(`no: ${secret}`, secret)).not.toContain('abab');
  for (const secrets of ['s3cr3t-value', 'x'.repeat(700)]) {
    for (const said of [secrets, Buffer.from(`client:${secrets}`).toString('base64')]) {
      // Wherever the text is cut, also where everything before it is made short.
      for (const at of [0, 1, 5, said.length - 1]) {
        const before = `${secrets} `.repeat(400).slice(0, 2_048 - at - 1);
        const message = failed(`${before} ${said}`, secrets);
        expect(message).not.toContain(secrets.slice(0, 4));
        expect(message).not.toContain(said.slice(0, 6));
      }
    }
  }
  expect(failed(`page ${'<br> '.repeat(1_000)}`, 's3cr3t-value')).toContain('page <br>');
});

test('a secret in the code of an error is blotted out, too, and control characters are spelled out', () => {
  const error = new OAuthError('no: s3cr3t-value\u001b[31m', 'again');
  const { message } = failedAt({ name: 'far' } as never, { issuer: 'https://issuer.example' } as never, error, [
    's3cr3t-value',
  ]);
  expect(message).toContain('no: ***\\u001b[31m: again');
});

test.each([1e306, -1e306, 1e12, Number.MAX_VALUE])(
  'a token that is said to last %d seconds has an end that is a date',
  (expires_in) => {
    const tokens = { access_token: 'a', token_type: 'Bearer', expires_in };
    const { expiresAt = Number.NaN } = grantOf({ name: 'far' } as never, tokens, Date.now());
    expect(new Date(expiresAt).toISOString()).toMatch(expires_in < 0 ? /^1970/ : /^\+/);
  },
);
