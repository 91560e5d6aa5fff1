/** Counts the turns of the event loop from here on, until it is disposed. */
export function countTurns(): { count: number } & Disposable {
  const turns = {
    count: 0,
    [Symbol.dispose]: () => clearImmediate(next),
  };
  const turn = (): void => {
    turns.count++;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  return turns;
}
