// Servers of the chaos run, fake ones, over stdio and HTTP. They append what they do to the file EVENTS.
//   main.js stdio <name> <era>              one server over stdio
//   main.js web <name:kind:port> ...        several over HTTP; kind: sessions, modern, sse
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { runFakeServer } from '../../../src/testing/fake/child/runFakeServer.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import type { FakeServerOptions, FakeTool, FakeToolContext } from '../../../src/testing/fake/FakeServerOptions.js';
import type { FaultRule } from '../../../src/testing/faults/rule/FaultRule.js';
import { CALL_RULES } from './faults.js';

const { EVENTS, STORM, START_FAULT, START_EVERY, PLAN_STATE } = process.env;
const TOLD = { level: 'info', data: 'told' };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const TOOLS: Readonly<Record<string, FakeTool>> = {
  echo: {},
  progress: { steps: 3, serviceMs: 3, text: 'done' },
  ask: { asks: 'sampling/createMessage' },
  slow: {
    call: async ({ ms }, { signal }: FakeToolContext) => {
      await sleep(Number(ms ?? 0), undefined, { signal });
      // What came while this process was not scheduled is read before it is said that nothing came.
      await turn().then(turn);
      signal.throwIfAborted();
      return 'slow';
    },
  },
  tell: {
    call: (_, { notify }: FakeToolContext) => {
      notify('notifications/message', TOLD);
      // No level holds it back: it shows who hears what is about one caller alone.
      notify('notifications/told');
      return 'told';
    },
  },
  late: {
    call: (_, { notify }: FakeToolContext) => {
      setTimeout(() => notify('notifications/message', TOLD), 20).unref();
      return 'later';
    },
  },
  changed: {
    call: (_, { notify }: FakeToolContext) => {
      notify('notifications/tools/list_changed');
      setTimeout(() => notify('notifications/tools/list_changed'), 5).unref();
      return 'changed';
    },
  },
  helper: {
    call: () => {
      spawn('sleep', ['600'], { stdio: 'ignore' });
      return 'started';
    },
  },
};

function optionsOf(name: string, era: 'legacy' | 'modern'): FakeServerOptions {
  // Starts go wrong while the storm lasts.
  const start: readonly FaultRule[] =
    START_FAULT !== undefined && STORM !== undefined && existsSync(STORM)
      ? [{ fault: START_FAULT, every: Number(START_EVERY) } as FaultRule]
      : [];
  return {
    name,
    era,
    tools: TOOLS,
    plan: { rules: [...CALL_RULES, ...start] },
    maxEvents: 0,
    ...(EVENTS !== undefined && { eventsFile: EVENTS }),
    ...(start.length > 0 && PLAN_STATE !== undefined && { stateFile: PLAN_STATE }),
  };
}

const [kind, ...rest] = process.argv.slice(2);
if (kind === 'stdio') {
  const [name = '', era] = rest;
  runFakeServer(optionsOf(name, era === 'modern' ? 'modern' : 'legacy'));
} else {
  for (const each of rest) {
    const [name = '', of, port] = each.split(':');
    await fakeServer(optionsOf(name, of === 'modern' ? 'modern' : 'legacy')).listen({ port: Number(port) });
  }
}
