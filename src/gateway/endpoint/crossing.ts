type Capabilities = Readonly<Record<string, unknown>>;

/** The tasks of the modern era. */
const TASKS = 'io.modelcontextprotocol/tasks';

/** What one side can do, as the other is told where only one of them speaks the modern era: the tasks of the eras do not meet. */
export function acrossEras<T extends object>(capabilities: T): T {
  const { tasks: _, extensions, ...rest } = capabilities as Capabilities;
  if (typeof extensions !== 'object' || extensions === null || !Object.hasOwn(extensions, TASKS)) {
    return { ...rest, ...(extensions === undefined ? {} : { extensions }) } as T;
  }
  const { [TASKS]: _tasks, ...others } = extensions as Capabilities;
  return { ...rest, ...(Object.keys(others).length === 0 ? {} : { extensions: others }) } as T;
}
