import { FAULT_NAMES, FAULTS } from './faultTable.js';
import { RULE_FIELDS } from './rule/FaultRule.js';
import { SETTINGS } from './settings.js';

const RATIO = { type: 'number', minimum: 0, maximum: 1 } as const;

/** The JSON schema (2020-12) of a fault plan: what `new FaultPlan` takes, but for functions. */
export function faultPlanSchema(): Readonly<Record<string, unknown>> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Fault plan',
    type: 'object',
    additionalProperties: false,
    properties: {
      seed: { type: 'integer' },
      delayMs: { type: 'number', minimum: 0 },
      maxFaults: { type: 'number', minimum: 0 },
      ratios: {
        type: 'object',
        additionalProperties: false,
        properties: Object.fromEntries(FAULT_NAMES.map((fault) => [fault, RATIO])),
      },
      rules: { type: 'array', items: { anyOf: FAULT_NAMES.map(ruleSchema) } },
    },
  };
}

/** Each fault has settings of its own, so each has a shape of its own. */
function ruleSchema(fault: (typeof FAULT_NAMES)[number]): object {
  const { settings, shows } = FAULTS[fault];
  const own = settings.map((name) => [name, { description: SETTINGS[name].doc, ...SETTINGS[name].schema }]);
  return {
    type: 'object',
    description: shows,
    additionalProperties: false,
    required: ['fault'],
    properties: { fault: { const: fault }, ...RULE_FIELDS, ...Object.fromEntries(own) },
  };
}
