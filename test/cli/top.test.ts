import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { MAIN } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';

/** Gives a program a terminal; of util-linux. */
const SCRIPT = '/usr/bin/script';
const ENTER = '\u001b[?1049h';
const LEAVE = '\u001b[?1049l';
const MARKS = new RegExp(`${ENTER}|${LEAVE}|code \\d+`.replaceAll(/[[?]/g, '\\$&'), 'g');
const SETTINGS = /^[0-9a-f]+(?::[0-9a-f]+){10,}\r$/gm;

const STATUS = {
  snapshot: {
    at: 1_000,
    startedAt: 0,
    version: '1.2.3',
    gateway: { sessions: 0, streams: 0, inFlight: 0, refusing: false },
    process: { delayP99: 0 },
    servers: [],
    open: [],
    openMore: 0,
  },
  history: { times: [], servers: {} },
  events: [],
};

/** `top` in a shell on a terminal of its own, which says the terminal's settings before, where it is stopped, and behind. */
async function topOnTerminal() {
  const asked: string[] = [];
  const gateway = createServer(({ url = '' }, response) => {
    asked.push(url);
    response.end(JSON.stringify(STATUS));
  });
  await once(gateway.listen(0, '127.0.0.1'), 'listening');
  const at = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`;
  const top = `sh -c 'echo pid $$; exec "$0" "$@"' '${process.execPath}' '${MAIN}' top --url ${at}`;
  const shell = `stty -g; ${top}; code=$?; stty -g; if [ $code = 148 ]; then echo code $code; fg; code=$?; stty -g; fi; echo code $code`;
  const env = { ...process.env, SHELL: '/bin/sh' };
  const terminal = spawn(SCRIPT, ['-qec', `set -m; ${shell}`, '/dev/null'], { env });
  const ended = once(terminal, 'close');
  closeAfter({
    close: async () => {
      terminal.kill('SIGKILL');
      await ended;
      gateway.closeAllConnections();
      await once(gateway.close(), 'close');
    },
  });
  let out = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    terminal.emit('out');
  });
  const shown = async (text: string, times = 1): Promise<void> => {
    while (out.split(text).length <= times) await once(terminal, 'out');
  };
  await shown('mcp-poolkit 1.2.3, up');
  return {
    asked,
    shown,
    type: (keys: string) => void terminal.stdin.write(keys),
    pid: Number(/^pid (\d+)/m.exec(out)?.[1]),
    /** What there was to see, and how the terminal was set. */
    end: async () => {
      await ended;
      const marks = out.match(MARKS);
      return { marks, settings: new Set(out.match(SETTINGS)).size };
    },
  };
}

test.runIf(existsSync(SCRIPT))('Ctrl-Z gives the terminal back, fg takes it again, q ends', async () => {
  const { asked, shown, type, end } = await topOnTerminal();
  type('\u001a');
  await shown(ENTER, 2);
  type('q');
  expect(await end()).toEqual({ marks: [ENTER, LEAVE, 'code 148', ENTER, LEAVE, 'code 0'], settings: 1 });
  expect(new Set(asked)).toEqual(new Set(['/status/data.json?history=none']));
});

test.runIf(existsSync(SCRIPT)).each([
  ['SIGHUP', '129'],
  ['SIGTERM', '0'],
] as const)('by %s it ends with the terminal as it was', async (signal, code) => {
  const { pid, end } = await topOnTerminal();
  process.kill(pid, signal);
  expect(await end()).toEqual({ marks: [ENTER, LEAVE, `code ${code}`], settings: 1 });
});
