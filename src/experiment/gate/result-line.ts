import type { ScriptFacts, Statement } from '../script/facts.ts';
import { type Finding, findNew, quote, type RuleInput, type Script } from './finding.ts';

/** How far the printed value is followed back to the evaluation. */
const MAX_STEPS = 8;
/** Functions that only show or shape a value. */
const SHAPING = new Set(['print', 'sys', 'str', 'repr', 'float', 'int', 'round', 'format', 'log', 'logger', 'logging']);

/**
 * Exactly one line of the result, and that fed by the evaluation: some workers take the first line that looks like one,
 * others the last.
 */
export function findResultFaults({ task, variant, parent }: RuleInput): Finding[] {
  const { metric } = task;
  const lines = findResultLines(variant.facts, metric);
  const [first, second] = lines;
  if (!first) {
    const isMentioned = variant.source.includes(metric);
    const reason = isMentioned
      ? `no statement prints a line that begins with ${quote(`${metric}:`)}`
      : `${quote(metric)} occurs nowhere: the run would give no score`;
    return [{ rule: 'no_result', verdict: 'refuse', line: null, reason }];
  }
  if (second) {
    const reason = `a second ${quote(`${metric}:`)} line beside that of line ${first.line}: workers would read different scores`;
    return [{ rule: 'two_results', verdict: 'refuse', line: second.line, reason }];
  }
  return [
    ...checkSource(first, task.evaluationNames, variant),
    ...checkChange(first, parent, metric),
    ...findMentions(),
  ];

  function findMentions(): Finding[] {
    const inside = (facts: ScriptFacts) => findPrinted(facts, new RegExp(`[^\\n\\r].*\\b${metric}\\b["']?\\s*[:=]`));
    const fresh = findNew(inside(variant.facts), parent ? inside(parent.facts) : [], ({ text }) => text);
    return fresh.map(({ line }) => ({
      rule: 'result_like',
      verdict: 'warn',
      line,
      reason: `it prints something that could be taken for the line with the score`,
    }));
  }
}

/** Statements that print a line which begins with the metric. */
function findResultLines(facts: ScriptFacts, metric: string): Statement[] {
  return findPrinted(facts, new RegExp(`(?:^|[\\n\\r])[ \\t]*${metric}[ \\t]*:`)).flatMap((statement) =>
    statement.strings.flatMap((text) =>
      Array.from(text.matchAll(new RegExp(`(?:^|[\\n\\r])[ \\t]*${metric}[ \\t]*:`, 'g')), () => statement),
    ),
  );
}

/** A pattern that reads results is no result. */
function findPrinted({ statements }: ScriptFacts, pattern: RegExp): Statement[] {
  return statements.filter(
    ({ strings, calls }) => strings.some((text) => pattern.test(text)) && !calls.some(({ path }) => /^re\./.test(path)),
  );
}

function checkSource(statement: Statement, evaluation: readonly string[], { facts }: Script): Finding[] {
  const fed = statement.names.filter((name) => !SHAPING.has(name));
  const refuse = (reason: string): Finding[] => [
    { rule: 'result_source', verdict: 'refuse', line: statement.line, reason },
  ];
  if (fed.length === 0) return refuse('the printed score is written out in the source, not computed');
  if (evaluation.length === 0) return [];
  const reached = new Set(fed);
  for (let step = 0; step < MAX_STEPS; step += 1) {
    if (evaluation.some((name) => reached.has(name))) return [];
    for (const { binds, names } of facts.statements) {
      if (binds.some((name) => reached.has(name))) for (const name of names) reached.add(name);
    }
  }
  return refuse(`the printed score does not come from ${evaluation.join(' or ')}`);
}

function checkChange(statement: Statement, parent: Script | null, metric: string): Finding[] {
  const before = parent ? findResultLines(parent.facts, metric) : [];
  if (before.length === 0 || before.some(({ text }) => text === statement.text)) return [];
  const reason = 'the line that prints the score is not as in the source that it was made from';
  return [{ rule: 'result_changed', verdict: 'refuse', line: statement.line, reason }];
}
