import { InputError } from '../../base/errors.ts';
import type { JsonObject } from '../../base/json.ts';
import { buildEffectiveForm } from '../script/normal-form.ts';
import { isKnown } from '../task.ts';
import type { Task } from '../task-schema.ts';
import { findAccesses } from './access.ts';
import { findEscapes } from './escape.ts';
import type { Finding, RuleInput } from './finding.ts';
import { findFixedPartFaults, findShadows } from './fixed-parts.ts';
import { findResultFaults } from './result-line.ts';
import type { ScriptReader } from './script-reader.ts';

/** What the gate has to say about a variant. */
export interface GateReport {
  readonly verdict: 'ok' | 'warn' | 'refuse';
  /** Refusals first. */
  readonly findings: readonly Finding[];
}

export interface GateSubject {
  readonly source: string;
  readonly config: JsonObject;
}

/**
 * Checks a variant before anything is paid for it (field.md section 5): a known task's rules in full, an unknown
 * script's only where they need no knowledge of it; all else informs.
 * @param parent what the variant was made from; null for the first source of a lineage
 */
export async function checkVariant(
  reader: ScriptReader,
  task: Task,
  variant: GateSubject,
  parent: GateSubject | null,
): Promise<GateReport> {
  const sources = parent ? [variant.source, parent.source] : [variant.source];
  const [facts, parentFacts] = await reader.read(sources);
  if (!facts || facts.fault) {
    const { line = 1, message = 'it cannot be read' } = facts?.fault ?? {};
    return report([{ rule: 'syntax', verdict: 'refuse', line, reason: `it does not parse as Python (${message})` }]);
  }
  // A parent that does not parse never ran: nothing of it can be compared.
  const isReadable = parent !== null && parentFacts !== undefined && parentFacts.fault === null;
  const input: RuleInput = {
    task,
    variant: { ...variant, facts },
    parent: isReadable ? { ...parent, facts: parentFacts } : null,
  };
  const findings = [
    ...findResultFaults(input),
    ...findSeedOnly(input),
    ...(isKnown(task) ? findFixedPartFaults(input) : []),
    ...findEscapes(input),
    // What the task's own first source reaches is its business: only what is added to it needs a reason.
    ...(input.parent || !isKnown(task) ? [...findAccesses(input), ...findShadows(input)] : []),
  ];
  return report(isKnown(task) ? findings : findings.map((finding) => weaken(finding, input.parent !== null)));
}

function report(findings: readonly Finding[]): GateReport {
  const refusals = findings.filter(({ verdict }) => verdict === 'refuse');
  const verdict = refusals.length > 0 ? 'refuse' : findings.length > 0 ? 'warn' : 'ok';
  return { verdict, findings: [...refusals, ...findings.filter((finding) => finding.verdict === 'warn')] };
}

/** Rules that hold for every script; new network access only where there is something that it is new against. */
function weaken(finding: Finding, hasParent: boolean): Finding {
  const holds =
    finding.rule === 'two_results' || finding.rule === 'escape' || (finding.rule === 'network' && hasParent);
  return holds ? finding : { ...finding, verdict: 'warn' };
}

function findSeedOnly({ variant, parent }: RuleInput): Finding[] {
  if (!parent) return [];
  const now = buildEffectiveForm(variant.source, variant.config);
  const before = buildEffectiveForm(parent.source, parent.config);
  if (now.effectiveHash === before.effectiveHash || now.seedlessHash !== before.seedlessHash) return [];
  const reason = "only the seed is changed: another draw of luck is no idea, and repeats are the judge's business";
  return [{ rule: 'seed_only', verdict: 'refuse', line: null, reason }];
}

const SHOWN = 5;

/** Findings as sentences, the first few. */
export function formatFindings(findings: readonly Finding[]): string[] {
  const lines = findings
    .slice(0, SHOWN)
    .map(({ rule, line, reason }) => `${rule}${line === null ? '' : `, line ${line}`}: ${reason}`);
  return findings.length > SHOWN ? [...lines, `and ${findings.length - SHOWN} more`] : lines;
}

/**
 * Stops what must not be paid for.
 * @throws InputError `gate_refused`, or `gate_warned` for a known task whose warnings nobody accepted
 */
export function assertPasses({ verdict, findings }: GateReport, task: Task, acceptsWarnings: boolean): void {
  if (verdict === 'ok' || (verdict === 'warn' && (acceptsWarnings || !isKnown(task)))) return;
  const isRefused = verdict === 'refuse';
  const shown = formatFindings(isRefused ? findings.filter((finding) => finding.verdict === 'refuse') : findings);
  throw new InputError(
    isRefused ? 'gate_refused' : 'gate_warned',
    `The gate ${isRefused ? 'refuses' : 'warns about'} this variant (task ${task.name}). ${shown.join('; ')}. Nothing was submitted or paid.`,
    isRefused
      ? 'Mend what is named and submit again; another budget or task begins with run_loop {"action": "start"}.'
      : 'Mend it, or send accept_warnings: true when it is meant so.',
  );
}
