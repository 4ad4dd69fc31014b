import type { ScriptFacts, Statement } from '../script/facts.ts';
import { readKnobs } from '../script/normal-form.ts';
import type { Task } from '../task-schema.ts';
import { findAliases } from './access.ts';
import { type Finding, findNew, findNewStatements, quote, type RuleInput } from './finding.ts';

/** Something that a source says about a name. */
interface Form {
  readonly text: string;
  readonly line: number;
}

/** Rules of a known task about what a variant must leave as it is. */
export function findFixedPartFaults(input: RuleInput): Finding[] {
  return [
    ...findProtectedChanges(input),
    ...findLockedConfig(input),
    ...findBudgetUses(input),
    ...findValidationUses(input),
    ...findWatched(input),
    ...findOutOfRange(input),
  ];
}

function findProtectedChanges({ task, variant, parent }: RuleInput): Finding[] {
  const imported = [variant.facts, ...(parent ? [parent.facts] : [])].flatMap((facts) => listProtected(facts, task));
  const names = new Set([...task.protectedNames, ...task.lockedKnobs, ...imported]);
  return [...names].flatMap((name) => {
    const now = findForms(variant.facts, name);
    // Without a parent a name may be given once, as the task's own first source gives it.
    const before = parent ? findForms(parent.facts, name) : now.filter((form, index) => isOriginal(form, index, now));
    const changed = findFirstChange(now, before);
    return changed === undefined ? [] : [describeChange(name, changed, task.lockedKnobs.includes(name))];
  });
}

/** Names that come from a read-only module, and those modules themselves. */
function listProtected({ statements }: ScriptFacts, { protectedModules }: Task): string[] {
  return statements.flatMap(({ imports }) =>
    imports.filter(({ module }) => protectedModules.includes(module)).map(({ as }) => as),
  );
}

function isOriginal({ text }: Form, index: number, forms: readonly Form[]): boolean {
  const isImported = forms[0]?.text.startsWith('from ') ?? false;
  return index === 0 || !isImported || text === forms[0]?.text;
}

/** Everything that defines a name, changes it, or stands in its body. */
function findForms({ statements }: ScriptFacts, name: string): Form[] {
  return statements.flatMap((statement) => {
    const { text, line, scope, binds, mutates, imports } = statement;
    const names = imports.filter(({ as }) => as === name);
    if (names.length > 0) return names.map((item) => ({ text: `from ${item.module} import ${item.name}`, line }));
    const isBound = binds.includes(name) && (scope === '' || /^global\b/.test(text));
    const isPart = mutates.some((target) => target.startsWith(`${name}.`) || target.startsWith(`${name}[`));
    const isInside = scope === name || scope.startsWith(`${name}.`);
    return isBound || isPart || isInside ? [{ text, line }] : [];
  });
}

/** The first form that is not as before; `now` undefined where something is gone. */
function findFirstChange(
  now: readonly Form[],
  before: readonly Form[],
): { now: Form | undefined; before: Form | undefined } | undefined {
  for (let index = 0; index < Math.max(now.length, before.length); index += 1) {
    if (now[index]?.text !== before[index]?.text) return { now: now[index], before: before[index] };
  }
  return undefined;
}

function describeChange(
  name: string,
  { now, before }: { now: Form | undefined; before: Form | undefined },
  isBudget: boolean,
): Finding {
  const what = isBudget ? 'is part of the budget, which stays as it is' : 'belongs to the task, not to the variant';
  const was = before ? `; it was ${quote(before.text)}` : '';
  const is = now ? `, here ${quote(now.text)}` : ', and is gone';
  return {
    rule: isBudget ? 'budget' : 'protected',
    verdict: 'refuse',
    line: now?.line ?? null,
    reason: `${name} ${what}${is}${was}`,
  };
}

function findLockedConfig({ task, variant, parent }: RuleInput): Finding[] {
  return Object.entries(variant.config)
    .filter(([name]) => task.lockedKnobs.includes(name) || task.protectedNames.includes(name))
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(parent?.config[name]))
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(readKnobs(variant.source).get(name)?.value))
    .map(([name]) => ({
      rule: 'budget',
      verdict: 'refuse',
      line: null,
      reason: `the config sets ${name}, which is part of the budget and stays as it is`,
    }));
}

function findBudgetUses({ task, variant, parent }: RuleInput): Finding[] {
  if (!parent) return [];
  const uses = (facts: ScriptFacts) =>
    facts.statements.filter(
      ({ scope, names, binds }) =>
        scope === '' &&
        [...names, ...binds].some((name) => task.budgetNames.includes(name)) &&
        !binds.some((name) => isFixed(task, name)),
    );
  return findNewStatements(uses(variant.facts), uses(parent.facts)).map(({ line, text }) => ({
    rule: 'budget_use',
    verdict: 'warn',
    line,
    reason: `${quote(text)} handles the budget in a new way`,
  }));
}

function isFixed(task: Task, name: string): boolean {
  return task.protectedNames.includes(name) || task.lockedKnobs.includes(name);
}

function findValidationUses({ task, variant, parent }: RuleInput): Finding[] {
  if (!parent) return [];
  const isUse = ({ names, strings, scope, binds }: Statement, wanted: readonly string[]) =>
    (names.some((name) => wanted.includes(name)) || strings.some((text) => task.validationTexts.includes(text))) &&
    !task.protectedNames.includes(scope.split('.')[0] ?? '') &&
    !binds.some((name) => isFixed(task, name));
  const fresh = (wanted: readonly string[]) =>
    findNewStatements(
      variant.facts.statements.filter((statement) => isUse(statement, wanted)),
      parent.facts.statements.filter((statement) => isUse(statement, wanted)),
    );
  const refused = fresh(task.validationNames);
  const watched = fresh(task.watchedNames).filter((statement) => !refused.includes(statement));
  return [
    ...refused.map(({ line, text }) => toFinding('validation_data', 'refuse', line, text, 'uses validation data')),
    ...watched.map(({ line, text }) => toFinding('validation_use', 'warn', line, text, 'works on the validation text')),
  ];
}

function toFinding(rule: string, verdict: Finding['verdict'], line: number, text: string, does: string): Finding {
  return { rule, verdict, line, reason: `${quote(text)} ${does} in a new way` };
}

function findWatched({ task, variant, parent }: RuleInput): Finding[] {
  if (!parent) return [];
  return task.watchedFunctions.flatMap((name) => {
    const body = ({ statements }: ScriptFacts): Form[] =>
      statements.filter(({ scope }) => scope === name || scope.startsWith(`${name}.`));
    const changed = findFirstChange(body(variant.facts), body(parent.facts));
    if (!changed) return [];
    const line = changed.now?.line ?? null;
    const reason = `${name} is changed, and the evaluation trusts what it returns`;
    return [{ rule: 'model_loss', verdict: 'warn', line, reason }];
  });
}

function findOutOfRange({ task, variant }: RuleInput): Finding[] {
  const knobs = readKnobs(variant.source);
  return Object.entries(task.knobRanges).flatMap(([name, { min, max }]) => {
    const knob = knobs.get(name);
    const value = variant.config[name] ?? knob?.value;
    if (typeof value !== 'number' || (value >= min && value <= max)) return [];
    const reason = `${name} is ${value}; only ${min} to ${max} leaves a score that means something`;
    return [{ rule: 'range', verdict: 'refuse', line: knob?.line ?? null, reason }];
  });
}

/** Ready-made functions and modules that get another meaning in the main program. */
export function findShadows({ variant, parent }: RuleInput): Finding[] {
  const aliases = findAliases((parent ?? variant).facts);
  const shadows = ({ statements }: ScriptFacts) =>
    statements.flatMap((statement) =>
      [...statement.binds, ...statement.imports.map(({ as }) => as)]
        .filter((name) => (statement.scope === '' || /^global\b/.test(statement.text)) && isTaken(statement, name))
        .map((name) => ({ name, statement })),
    );
  const isTaken = ({ imports }: Statement, name: string) => {
    const item = imports.find(({ as }) => as === name);
    const full = item && (item.name === null ? item.module : `${item.module}.${item.name}`);
    const known = aliases.get(name);
    return BUILTINS.has(name) || (known !== undefined && (full === undefined || !full.startsWith(known)));
  };
  const fresh = findNew(
    shadows(variant.facts),
    parent ? shadows(parent.facts) : [],
    ({ name, statement }) => `${name} ${statement.text}`,
  );
  return fresh.map(({ name, statement }) => ({
    rule: 'shadow',
    verdict: 'refuse',
    line: statement.line,
    reason: `${name} gets another meaning than Python or the source that it was made from gives it`,
  }));
}

const BUILTINS = new Set(
  'print len float int round sum min max abs range sorted enumerate zip open isinstance'.split(' '),
);
