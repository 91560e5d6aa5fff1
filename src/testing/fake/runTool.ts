import type { Params } from '../../connection/protocol/messages.js';
import { systemClock } from '../../core/clock.js';
import { sleep } from '../../core/time/sleep.js';
import { drawLatency } from '../faults/settings.js';
import { textResult } from '../wire/messages.js';
import type { FakeCore } from './FakeCore.js';
import type { FakeTool, FakeToolContext } from './FakeServerOptions.js';

/** Does what a call asks for, in the time it takes, and gives its result. Rejects when it is cancelled meanwhile. */
export async function runTool(
  core: FakeCore,
  method: string,
  params: Params,
  context: FakeToolContext,
): Promise<object> {
  const { name, uri } = params;
  if (method === 'tools/call') return tool(core, core.tools.get(String(name)) ?? {}, params, context);
  await pause(drawLatency(core.settings.serviceMs, core.random), context);
  if (method === 'resources/read') return { contents: [{ uri, text: core.settings.resources[String(uri)] }] };
  if (method === 'prompts/get') {
    return { messages: [{ role: 'user', content: { type: 'text', text: core.settings.prompts[String(name)] } }] };
  }
  return { completion: { values: [], hasMore: false } };
}

async function tool(core: FakeCore, given: FakeTool, params: Params, context: FakeToolContext): Promise<object> {
  const args = (params['arguments'] ?? {}) as Params;
  const { steps = 0, asks, text, isError, call } = given;
  const { ms } = args;
  const asked = params['name'] === 'sleep' && typeof ms === 'number' && ms >= 0 ? ms : undefined;
  const totalMs = asked ?? drawLatency(given.serviceMs ?? core.settings.serviceMs, core.random);
  for (let step = 1; step <= steps; step++) {
    await pause(totalMs / steps, context);
    context.progress(step, steps);
  }
  if (steps === 0) await pause(totalMs, context);
  if (call !== undefined) {
    const result = await call(args, context);
    return typeof result === 'object' && result !== null ? result : textResult(String(result));
  }
  if (asks !== undefined) {
    return textResult(JSON.stringify(await context.ask(asks, questionOf(asks, String(args['text'] ?? 'well?')))));
  }
  const said = text ?? (typeof args['text'] === 'string' ? args['text'] : JSON.stringify(args));
  return isError === true ? { ...textResult(said), isError } : textResult(said);
}

function questionOf(method: string, text: string): Params {
  if (method === 'roots/list') return {};
  if (method === 'elicitation/create') {
    return { message: text, requestedSchema: { type: 'object', properties: {} } };
  }
  return { messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens: 10 };
}

/** One timer a call, none where it takes no time: a thousand calls in flight need a thousand timers. */
async function pause(ms: number, { signal }: FakeToolContext): Promise<void> {
  if (ms > 0) await sleep(systemClock, ms, { signal });
  else signal.throwIfAborted();
}
