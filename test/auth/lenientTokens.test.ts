import { expect, test } from 'vitest';
import { lenientTokens } from '../../src/auth/net/lenientTokens.js';

const TOKENS = { access_token: 'a', token_type: 'Bearer', expires_in: 3_600, refresh_token: 'r' };
const { token_type: _, ...UNTYPED } = TOKENS;

/** What clients of the SDK are given of such an answer. */
async function read(body: string, status = 200): Promise<{ readonly status: number; readonly body: string }> {
  const type = { 'content-type': 'application/x-www-form-urlencoded' };
  const response = await lenientTokens(async () => new Response(body, { status, headers: type }))('https://a/token');
  return { status: response.status, body: await response.text() };
}

test.each([
  ['without a type', JSON.stringify(UNTYPED), TOKENS],
  ['with members that are null', JSON.stringify({ ...TOKENS, scope: null, id_token: null }), TOKENS],
  ['with members that are empty', JSON.stringify({ ...TOKENS, scope: '', id_token: '' }), TOKENS],
  ['with a type that is null', JSON.stringify({ ...UNTYPED, token_type: null }), TOKENS],
  [
    'as a form',
    'access_token=a&scope=&token_type=bearer&refresh_token=%2Br',
    { access_token: 'a', token_type: 'bearer', refresh_token: '+r' },
  ],
])('an answer %s is taken', async (_what, body, expected) => {
  const answer = await read(body);
  expect([answer.status, JSON.parse(answer.body)]).toEqual([200, expected]);
});

test('an answer that says an error is one, also beside a token, and an empty one of 204 is as it came', async () => {
  for (const token of ['', 'a']) {
    const { status, body } = await read(JSON.stringify({ ...TOKENS, access_token: token, error: 'access_denied' }));
    expect([status, JSON.parse(body)]).toMatchObject([400, { error: 'access_denied' }]);
  }
  expect((await read(JSON.stringify({ ...TOKENS, error: '' }))).status).toBe(200);
  expect(await (await lenientTokens(async () => new Response(null, { status: 204 }))('https://a/token')).text()).toBe(
    '',
  );
});

test('an error with members that are null or empty is that error', async () => {
  const said = JSON.stringify({ error: 'invalid_grant', error_description: null, error_uri: '' });
  expect(await read(said, 400)).toEqual({ status: 400, body: '{"error":"invalid_grant"}' });
});

test('an error that comes as a success is one; what is no answer of OAuth is as it came', async () => {
  const failed = await read('error=bad_verification_code&error_description=it+is+old');
  expect([failed.status, JSON.parse(failed.body)]).toEqual([
    400,
    { error: 'bad_verification_code', error_description: 'it is old' },
  ]);
  for (const body of ['<p>no</p>', '[1]', '"a=b"', '', 'a', `access_token=${'x'.repeat(70_000)}`])
    expect(await read(body)).toEqual({ status: 200, body });
  expect(await read('access_token=a', 500)).toEqual({ status: 500, body: 'access_token=a' });
});
