import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'vitest';
import { signInOnLoopback } from '../../../src/auth/signInOnLoopback.js';
import { Grants } from '../../../src/auth/store/Grants.js';
import type { TokenStore } from '../../../src/auth/store/TokenStore.js';
import { UpstreamOAuth } from '../../../src/auth/UpstreamOAuth.js';
import { systemClock } from '../../../src/core/clock.js';
import { BackgroundWorker } from '../../../src/shutdown/BackgroundWorker.js';
import { InFlight } from '../../../src/shutdown/InFlight.js';
import { ShutdownPlan } from '../../../src/shutdown/ShutdownPlan.js';
import { closeAfter } from '../closeAfter.js';
import { BOTH, FAR, logged, logger, Planted, thrower } from './planted.js';

/** What a throw does in the functions that shutdown and sign-ins take, by `Type.hook`, as the types call them. */
export const shutdownHooks: Readonly<Record<string, () => unknown>> = {
  'ShutdownPlan steps and hooks': async () => {
    for (const bad of BOTH) {
      const plan = new ShutdownPlan({ logger });
      const ran: string[] = [];
      plan.beforeStop(bad);
      plan.add('bad', bad);
      plan.add('good', () => void ran.push('good'));
      plan.afterStop(bad);
      const { error, exitCode } = await plan.shutdown('test');
      expect([ran, exitCode, error?.errors.length]).toEqual([['good'], 1, 3]);
    }
  },
  'ListenOptions.onReport': async () => {
    const plan = new ShutdownPlan({ logger });
    using _ = plan.listen({ onReport: thrower });
    await plan.shutdown('test');
    await expect.poll(() => logged.length).toBe(1);
    process.exitCode = 0;
  },
  'BackgroundWorkerOptions.run and onError': async () => {
    for (const run of BOTH) {
      let runs = 0;
      const worker = new BackgroundWorker({
        intervalMs: 1,
        run: () => (++runs > 2 ? undefined : run()),
        onError: thrower,
        logger,
      });
      worker.start();
      await expect.poll(() => runs).toBeGreaterThan(2);
      await worker.close();
      expect(logged.length).toBeGreaterThan(0);
    }
  },
  'BackgroundWorkerOptions.onError': () => shutdownHooks['BackgroundWorkerOptions.run and onError']?.(),
  'InFlight.listener': async () => {
    const late = (_: unknown, response: ServerResponse): never => {
      response.write('x');
      return thrower();
    };
    for (const handle of [...BOTH, late]) {
      const calls = closeAfter(new InFlight({ logger }));
      const server = createServer(calls.listener(handle as never)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const answer = await fetch(url).then(
        (response) =>
          response.text().then(
            () => response.status,
            () => 'cut',
          ),
        () => 'cut',
      );
      expect(answer).toBe(handle.length === 2 ? 'cut' : 500);
      expect(logged.length).toBeGreaterThan(0);
      await calls.idle();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  },
  'TokenStore get set delete exclusive': async () => {
    const grant = { server: FAR.url, issuer: 'https://i.example', resource: FAR.url, client: { id: 'c' } };
    const old = { ...grant, accessToken: 'a', refreshToken: 'r', expiresAt: 1 };
    const good: TokenStore = { get: async () => old, set: async () => undefined, delete: async () => undefined };
    const ask = (store: TokenStore): Promise<unknown> => {
      const { signal } = new AbortController();
      const oauth = new UpstreamOAuth({ store });
      return oauth.credentials({ server: 'far', config: FAR, caller: undefined, signal, reason: 'start' });
    };
    const planted = { code: 'ERR_SIGN_IN', message: expect.stringContaining('planted') };
    for (const broken of BOTH) {
      await expect(ask({ ...good, get: broken })).rejects.toMatchObject(planted);
      await expect(ask({ ...good, exclusive: broken })).rejects.toMatchObject(planted);
      await expect(new UpstreamOAuth({ store: { ...good, delete: broken } }).signOut(FAR)).rejects.toMatchObject(
        planted,
      );
      const revoke = async (): Promise<void> => undefined;
      const grants = new Grants({ store: { ...good, set: broken }, clock: systemClock, logger, revoke });
      await expect(grants.set(FAR, undefined, old)).rejects.toMatchObject(planted);
    }
  },
  'UpstreamOAuthOptions ownerOf': async () => {
    const store: TokenStore = { get: async () => undefined, set: async () => undefined, delete: async () => undefined };
    const { signal } = new AbortController();
    const asked = { server: 'far', config: FAR, caller: undefined, signal, reason: 'start' } as const;
    const oauth = new UpstreamOAuth({ store, ownerOf: thrower });
    await expect(oauth.credentials(asked)).rejects.toBeInstanceOf(Planted);
  },
  'SignInOnLoopbackOptions onUrl': async () => {
    const oauth = { begin: async () => ({ url: 'https://i.example', issuer: 'i' }) } as unknown as UpstreamOAuth;
    await expect(signInOnLoopback(oauth, FAR, { onUrl: thrower })).rejects.toBeInstanceOf(Planted);
  },
};
