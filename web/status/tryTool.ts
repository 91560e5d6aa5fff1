import { act } from './actions.js';
import { byId, element, setText, shown } from './dom.js';

interface Tool {
  readonly name: string;
  readonly description?: string;
  readonly inputSchema?: {
    readonly properties?: Readonly<Record<string, Property>>;
    readonly required?: readonly string[];
  };
}

interface Property {
  readonly type?: unknown;
  readonly description?: unknown;
  readonly default?: unknown;
}

let tools: readonly Tool[] = [];
let asked = 0;

export function listTryServers(names: readonly string[]): void {
  const select = byId<HTMLSelectElement>('try-server');
  if ([...select.options].map(({ value }) => value).join('\n') === names.join('\n')) return;
  const before = select.value;
  select.replaceChildren(...names.map(optionOf));
  if (names.includes(before)) select.value = before;
  else void loadTools();
}

export function setUpTry(): void {
  byId('try-server').addEventListener('change', () => void loadTools());
  byId('try-tool').addEventListener('change', showTool);
  byId('try-form').addEventListener('submit', (event) => {
    event.preventDefault();
    void run();
  });
}

function optionOf(name: string): HTMLOptionElement {
  const option = element('option', '', name);
  option.value = name;
  return option;
}

async function loadTools(): Promise<void> {
  const server = byId<HTMLSelectElement>('try-server').value;
  const turn = ++asked;
  setText(byId('try-about'), 'loading the tools');
  let answer: { readonly tools?: readonly Tool[]; readonly error?: string };
  try {
    answer = await (await fetch(`status/tools?server=${encodeURIComponent(server)}`)).json();
  } catch (error) {
    answer = { error: String(error) };
  }
  if (turn !== asked) return;
  tools = answer.tools ?? [];
  byId('try-tool').replaceChildren(...tools.map(({ name }) => optionOf(name)));
  showTool();
  if (answer.error !== undefined) setText(byId('try-about'), answer.error);
}

function chosen(): Tool | undefined {
  const name = byId<HTMLSelectElement>('try-tool').value;
  return tools.find((tool) => tool.name === name);
}

function showTool(): void {
  const tool = chosen();
  setText(byId('try-about'), tool === undefined ? 'no tools' : (tool.description ?? ''));
  const fields = Object.entries(tool?.inputSchema?.properties ?? {}).filter(([, { type }]) =>
    ['string', 'number', 'integer', 'boolean'].includes(String(type)),
  );
  const values: Record<string, unknown> = {};
  const json = byId<HTMLTextAreaElement>('try-json');
  const write = (): void => {
    json.value = JSON.stringify(values, null, 2);
  };
  byId('try-fields').replaceChildren(
    ...fields.map(([name, property]) => {
      const type = String(property.type);
      const label = element(
        'label',
        '',
        tool?.inputSchema?.required?.includes(name) === true ? `${name} (required)` : name,
      );
      const input = element('input');
      input.type = type === 'boolean' ? 'checkbox' : type === 'string' ? 'text' : 'number';
      if (type === 'number') input.step = 'any';
      if (typeof property.description === 'string') input.title = shown(property.description);
      if (property.default !== undefined) values[name] = property.default;
      if (typeof property.default === 'string' || typeof property.default === 'number')
        input.value = String(property.default);
      if (property.default === true) input.checked = true;
      input.addEventListener('input', () => {
        if (type === 'boolean') values[name] = input.checked;
        else if (input.value === '' && type !== 'string') delete values[name];
        else values[name] = type === 'string' ? input.value : Number(input.value);
        write();
      });
      label.append(input);
      return label;
    }),
  );
  write();
}

async function run(): Promise<void> {
  const tool = chosen();
  const result = byId('try-result');
  const send = byId('try-form').querySelector('button[type=submit]') as HTMLButtonElement;
  if (tool === undefined) return;
  let args: unknown;
  try {
    args = JSON.parse(byId<HTMLTextAreaElement>('try-json').value || '{}');
  } catch (error) {
    show(result, `The arguments are not JSON: ${String(error)}`);
    return;
  }
  send.disabled = true;
  show(result, 'calling');
  const server = byId<HTMLSelectElement>('try-server').value;
  const outcome = await act({ action: 'call', server, tool: tool.name, arguments: args });
  send.disabled = false;
  show(
    result,
    outcome.error === undefined
      ? JSON.stringify(outcome.result, null, 2)
      : `${outcome.code ?? 'failed'}: ${outcome.error}`,
  );
}

function show(target: HTMLElement, text: string): void {
  target.hidden = false;
  setText(target, text);
}
