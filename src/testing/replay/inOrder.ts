import type { Exchange } from './exchanges.js';

type Run = (exchange: Exchange) => Promise<void>;

/** Runs exchanges, which stand in the order of their requests: each once those of its connection have ended that had been answered before it. */
export async function inOrder(exchanges: readonly Exchange[], run: Run): Promise<void> {
  const wires = new Map<string, Exchange[]>();
  for (const each of exchanges) {
    const same = wires.get(each.wire) ?? [];
    wires.set(each.wire, same);
    same.push(each);
  }
  await Promise.all([...wires.values()].map((same) => runWire(same, run)));
}

async function runWire(exchanges: readonly Exchange[], run: Run): Promise<void> {
  const answered = [...exchanges].sort((a, b) => a.answerPlace - b.answerPlace);
  const done = new Map<Exchange, Promise<unknown>>();
  // Who waits for more waits for all of this, too: each answer is waited for by one.
  let ready: Promise<unknown> = Promise.resolve();
  let next = 0;
  for (const exchange of exchanges) {
    const before = [ready];
    for (let each = answered[next]; each !== undefined && each.answerPlace < exchange.place; each = answered[++next]) {
      before.push(done.get(each) ?? ready);
    }
    if (before.length > 1) ready = Promise.all(before);
    done.set(
      exchange,
      ready.then(() => run(exchange)),
    );
  }
  await Promise.all(done.values());
}
