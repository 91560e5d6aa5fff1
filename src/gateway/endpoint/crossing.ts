type Capabilities = Readonly<Record<string, unknown>>;

/** The tasks of the modern era. */
const TASKS = 'io.modelcontextprotocol/tasks';

/** What one side can do, as the other is told where only one of them speaks the modern era: the tasks of the eras do not meet. */
export function acrossEras<T extends object>(capabilities: T): T {
  const { tasks, extensions } = capabilities as Capabilities;
  const withTasks = typeof extensions === 'object' && extensions !== null && Object.hasOwn(extensions, TASKS);
  if (tasks === undefined && !withTasks) return capabilities;
  const { tasks: _, ...rest } = capabilities as Capabilities;
  if (!withTasks) return rest as T;
  const { [TASKS]: _tasks, ...others } = extensions as Capabilities;
  if (Object.keys(others).length > 0) return { ...rest, extensions: others } as T;
  const { extensions: _extensions, ...bare } = rest;
  return bare as T;
}
