/** How often the parent is looked at. */
const LOOK_MS = 500;

/**
 * Calls back once when the shell between npm and us is gone. `npm` and `npx` pass a signal on to that shell alone, and it
 * dies without telling us: a stop of npm is meant for us. Programs started otherwise may outlive their parent, as with
 * `nohup`: for them this does nothing.
 */
export function whenNpmIsGone(callback: () => void): Disposable {
  if (process.env['npm_lifecycle_event'] !== undefined) return whenParentIsGone(callback);
  return { [Symbol.dispose]: () => undefined };
}

/** Calls back once when the process that started this one is gone: for a program that lives for its starter alone. */
export function whenParentIsGone(callback: () => void): Disposable {
  if (process.platform === 'win32') return { [Symbol.dispose]: () => undefined };
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    callback();
  }, LOOK_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
