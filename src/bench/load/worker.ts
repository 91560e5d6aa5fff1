import { messageOf } from '../../core/errors.js';
import { measure, type WorkerAnswer, type WorkerOrder } from './generate.js';
import type { Recorder } from './Recorder.js';

/** One load generator in a process of its own: takes an order from its parent, answers with what it measured, ends. */
const stopping = new AbortController();
// A terminal's or supervisor's signal reaches every process of the group: the parent tells this one to stop.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => stopping.abort(new Error('the parent is gone')));
process.on('message', (message: WorkerOrder | { readonly stop: true }) => {
  if ('stop' in message) stopping.abort(new Error('interrupted'));
  else void work(message);
});

async function work({ plan, firstTurn }: WorkerOrder): Promise<void> {
  let answer: WorkerAnswer;
  try {
    const onTick = (all: Recorder, elapsedMs: number): void =>
      tell({ tick: all.toData({ withSeconds: false }), elapsedMs });
    answer = { measured: await measure(plan, { stopping: stopping.signal, onTick }, firstTurn) };
  } catch (error) {
    answer = { error: messageOf(error) };
  }
  tell(answer, () => process.disconnect());
}

function tell(answer: WorkerAnswer, told?: () => void): void {
  if (process.connected) process.send?.(answer, () => told?.());
}
