import { expect, test } from 'vitest';
import { BackingOffError, RequestTimeoutError, StartError } from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import { failureOf } from '../../src/gateway/rpc/failure.js';

const code = (code: string): Error => Object.assign(new Error('secret'), { code });

test.each<[string, StartError]>([
  ['it exited with code 1', new StartError('one', 'it exited with code 1', { exitCode: 1, stderr: ['key=secret'] })],
  ['it ended on SIGKILL', new StartError('one', 'secret', { exitCode: null, signal: 'SIGKILL' })],
  [
    'its program, or its folder, was not found (ENOENT)',
    new StartError('one', 'no program "/secret"', {}, code('ENOENT')),
  ],
  [
    'its connection was refused (ECONNREFUSED)',
    new StartError('one', 'secret', {}, new AggregateError([code('ECONNREFUSED')])),
  ],
  [
    'its host is not known (ENOTFOUND)',
    new StartError('one', 'secret', {}, new Error('secret', { cause: code('ENOTFOUND') })),
  ],
  ['it did not answer in time', new StartError('one', 'secret', {}, new RequestTimeoutError('one', 'initialize', 10))],
  ['', new StartError('one', 'secret', {}, code('secret'))],
])(
  'of a failed start clients are told what the system says, and no word of a server or a config: %j',
  (reason, start) => {
    const message = `server "one" did not start${reason && `: ${reason}`}`;
    for (const error of [start, new BackingOffError('one', 10, start)])
      expect(failureOf(error, silentLogger)).toMatchObject({ message, data: { code: error.code } });
  },
);
