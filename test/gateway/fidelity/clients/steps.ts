import type { CallOptions, Face } from './Face.js';

/** What a step is given besides the client. */
export interface StepContext {
  /** Told apart from all other runs: the server keeps what it holds by label. */
  readonly label: string;
  /** Lets `ms` pass, on whatever clock the target is run by, while a call is held. */
  readonly pass: (face: Face, ms: number) => Promise<void>;
}

export interface Step {
  readonly name: string;
  /** Resolves to what the client saw: it is compared field by field. */
  run(face: Face, context: StepContext): Promise<unknown>;
}

/** How an attempt ended. An error's own words, without what the client puts before them. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

export async function outcomeOf(attempt: () => Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await attempt() };
  } catch (error) {
    const { code, message, data } = error as { code?: unknown; message?: string; data?: unknown };
    return { error: { code, message: String(message).replace(/^MCP error -?\d+: /, ''), data } };
  }
}

/** Attempts one after the other, each with its outcome. */
async function each(attempts: Record<string, () => Promise<unknown>>): Promise<Record<string, Outcome>> {
  const outcomes: Record<string, Outcome> = {};
  for (const [name, attempt] of Object.entries(attempts)) outcomes[name] = await outcomeOf(attempt);
  return outcomes;
}

/** Does `act` again and again until `seen`: what travels on a stream of its own may not have its stream yet. */
async function until(seen: () => boolean | Promise<boolean>, act?: () => Promise<unknown>): Promise<boolean> {
  for (let tries = 0; tries < 100; tries++) {
    await act?.();
    for (let turns = 0; turns < 5; turns++) {
      if (await seen()) return true;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  return false;
}

const textOf = (result: object): string => (result as { content: [{ text: string }] }).content[0].text;
const calls = (face: Face, tools: Record<string, object>, options?: CallOptions) =>
  each(Object.fromEntries(Object.entries(tools).map(([tool, args]) => [tool, () => face.call(tool, args, options)])));

/** A call without any sign of life for `ms`. */
async function silent(face: Face, { label, pass }: StepContext, ms: number): Promise<unknown> {
  const own = { label: `${label} ${ms}` };
  const held = face.call('test_held', own, { timeoutMs: ms + 600_000 });
  held.catch(() => undefined);
  await until(async () => textOf(await face.call('test_held_state', own)) === 'held');
  await pass(face, ms);
  await face.call('test_release', own);
  return textOf(await held).replace(own.label, 'until it was released');
}

async function cancel(face: Face, { label }: StepContext): Promise<unknown> {
  const own = { label: `${label} cancel` };
  const control = new AbortController();
  const outcome = outcomeOf(() => face.call('test_held', own, { signal: control.signal }));
  const state = async (): Promise<string> => textOf(await face.call('test_held_state', own));
  await until(async () => (await state()) === 'held');
  control.abort('no longer wanted');
  return { outcome: await outcome, told: await until(async () => (await state()) === 'cancelled') };
}

async function listChanges(face: Face): Promise<unknown> {
  const stop = await face.followLists();
  const told = async (kind: string): Promise<boolean> => {
    const from = face.heard.changes.length;
    const change = `test_trigger_${kind.slice(0, -1)}_change`;
    return until(
      () => face.heard.changes.slice(from).includes(kind),
      () => face.call(change, {}),
    );
  };
  const seen = { tools: await told('tools'), prompts: await told('prompts') };
  await stop();
  return seen;
}

async function resume(face: Face): Promise<unknown> {
  const plain = await outcomeOf(() => face.call('test_reconnection', {}));
  if (face.tap === undefined || face.modern) return { plain };
  const seen: unknown[] = [];
  face.tap.cutNext();
  const cut = await outcomeOf(() =>
    face.call('test_tool_with_progress', {}, { onProgress: (each) => seen.push(each) }),
  );
  // The result names the client's token, which is the client's own count.
  return { plain, cut: 'value' in cut ? 'answered' : cut, progress: seen };
}

const unsubscribe = new WeakMap<Face, () => Promise<unknown>>();

/** What official clients do with a server, in the order they do it. */
export const STEPS: readonly Step[] = [
  { name: 'connect', run: async (face) => face.connected },
  { name: 'list tools', run: (face) => face.list('tools') },
  {
    name: 'list and read resources',
    run: async (face) => {
      const list = await face.list('resources');
      const uris = (list as { resources: { uri: string }[] }).resources.map(({ uri }) => uri);
      return { list, read: await each(Object.fromEntries(uris.map((uri) => [uri, () => face.read(uri)]))) };
    },
  },
  {
    name: 'templates',
    run: async (face) => ({
      list: await face.list('resourceTemplates'),
      read: await face.read('test://template/7%20b/data'),
    }),
  },
  {
    name: 'prompts',
    run: async (face) => ({
      list: await face.list('prompts'),
      ...(await each({
        simple: () => face.prompt('test_simple_prompt', {}),
        args: () => face.prompt('test_prompt_with_arguments', { arg1: 'a', arg2: 'Zürich' }),
        resource: () => face.prompt('test_prompt_with_embedded_resource', { resourceUri: 'test://static-text' }),
        image: () => face.prompt('test_prompt_with_image', {}),
        asking: () => face.prompt('test_input_required_result_prompt', {}),
      })),
    }),
  },
  {
    name: 'call',
    run: (face) =>
      calls(face, {
        test_simple_text: {},
        test_image_content: {},
        test_audio_content: {},
        test_embedded_resource: {},
        test_multiple_content_types: {},
        test_header_parameter: { region: 'Zürich', query: '漢字' },
        json_schema_2020_12_tool: { name: 'n', email: 'e@x.test', address: { street: 's', city: 'c' } },
      }),
  },
  { name: 'complete', run: (face) => face.complete('test_prompt_with_arguments', 'arg1', 'par') },
  { name: 'log level', run: (face) => outcomeOf(() => face.setLevel('info')) },
  {
    name: 'logs',
    run: async (face) => {
      const from = face.heard.logs.length;
      const result = await face.call('test_tool_with_logging', {}, { logLevel: 'info' });
      await until(() => face.heard.logs.length >= from + 3);
      return { result, logs: face.heard.logs.slice(from) };
    },
  },
  {
    name: 'subscribe',
    run: async (face) => {
      unsubscribe.set(face, await face.subscribe('test://watched-resource'));
      return 'subscribed';
    },
  },
  {
    name: 'updates',
    run: async (face) => {
      const from = face.heard.updates.length;
      const updated = await until(
        () => face.heard.updates.length > from,
        () => face.call('test_touch_resource', {}),
      );
      const [uri] = face.heard.updates.slice(from);
      return { updated, uri, stopped: await outcomeOf(async () => unsubscribe.get(face)?.()) };
    },
  },
  { name: 'list changes', run: listChanges },
  {
    name: 'progress',
    run: async (face) => {
      const seen: unknown[] = [];
      await face.call('test_tool_with_progress', {}, { onProgress: (each) => seen.push(each) });
      return seen;
    },
  },
  { name: 'silent for 75 s', run: (face, context) => silent(face, context, 75_000) },
  { name: 'silent for 320 s', run: (face, context) => silent(face, context, 320_000) },
  { name: 'cancel', run: cancel },
  {
    name: 'sampling',
    run: (face) =>
      asking(face, {
        test_sampling: { prompt: 'What now?' },
        test_input_required_result_sampling: {},
      }),
  },
  {
    name: 'elicitation',
    run: (face) =>
      asking(face, {
        test_elicitation: { message: 'Who are you?' },
        test_elicitation_sep1034_defaults: {},
        test_elicitation_sep1330_enums: {},
        test_input_required_result_elicitation: {},
      }),
  },
  { name: 'roots', run: (face) => asking(face, { test_input_required_result_list_roots: {} }) },
  {
    name: 'several rounds',
    run: (face) =>
      asking(face, {
        test_input_required_result_multi_round: {},
        test_input_required_result_multiple_inputs: {},
        test_input_required_result_request_state: {},
        test_input_required_result_capabilities: {},
      }),
  },
  {
    name: 'errors',
    run: (face) =>
      each({
        thrown: () => face.call('test_error_handling', {}),
        'unknown tool': () => face.call('no_such_tool', {}),
        'bad argument': () => face.call('json_schema_2020_12_tool', { contactMethod: 'pigeon' }),
        'unknown resource': () => face.read('test://no-such-resource'),
        'unknown prompt': () => face.prompt('no_such_prompt', {}),
        'missing argument': () => face.prompt('test_prompt_with_arguments', { arg1: 'a' }),
      }),
  },
  { name: 'ping', run: (face) => outcomeOf(() => face.ping()) },
  { name: 'resume', run: resume },
  { name: 'close', run: (face) => face.close() },
];

/** Calls that ask the client, and what it was asked. */
async function asking(face: Face, tools: Record<string, object>): Promise<unknown> {
  const from = face.asked.length;
  const results = await calls(face, tools);
  // Questions of one round have no order.
  const asked = face.asked
    .slice(from)
    .map((question) => JSON.stringify(question))
    .sort();
  return { results, asked };
}
