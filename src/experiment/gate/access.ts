import type { ScriptFacts, Statement } from '../script/facts.ts';
import { type AccessKind, isOrdinary, KIND_WORDS, kindOfModule, kindOfPath } from './access-table.ts';
import { type Finding, findNew, quote, type RuleInput } from './finding.ts';

interface Access {
  readonly kind: AccessKind | 'import';
  /** The name that reaches it. */
  readonly path: string;
  readonly statement: Statement;
}

/** Rules about what a script reaches: what its parent reaches in the same way is not new. */
export function findAccesses({ variant, parent }: RuleInput): Finding[] {
  const parentModules = new Set(
    (parent?.facts.statements ?? []).flatMap(({ imports }) => imports.map(({ module }) => module.split('.')[0] ?? '')),
  );
  const fresh = findNew(
    listAccesses(variant.facts, parentModules),
    parent ? listAccesses(parent.facts, parentModules) : [],
    ({ kind, path, statement }) => `${kind} ${path} ${statement.imports.length > 0 ? '' : statement.text}`,
  );
  return fresh.map(({ kind, path, statement }) => ({
    rule: kind,
    verdict: isMild(kind, path) ? 'warn' : 'refuse',
    line: statement.line,
    reason: describe(kind, path, parent !== null),
  }));
}

/** What honest models may need as well: a person is asked, nobody is stopped. */
function isMild(kind: Access['kind'], path: string): boolean {
  return kind === 'import' || kind === 'environment' || (kind === 'dynamic' && /^(?:get|set|del)attr$/.test(path));
}

function describe(kind: Access['kind'], path: string, hasParent: boolean): string {
  const than = hasParent ? ', which the source that it was made from does not use in this way' : '';
  return kind === 'import'
    ? `it imports ${quote(path)}${than}: a worker may not have it`
    : `${quote(path)} reaches ${KIND_WORDS[kind]}${than}`;
}

function listAccesses(facts: ScriptFacts, parentModules: ReadonlySet<string>): Access[] {
  const aliases = findAliases(facts);
  return facts.statements.flatMap((statement) => [
    ...listPatches(statement, aliases),
    ...listImports(statement, parentModules),
    ...listOpens(statement, aliases),
    ...listPaths(statement, aliases),
  ]);
}

function listImports(statement: Statement, parentModules: ReadonlySet<string>): Access[] {
  return statement.imports.flatMap(({ module, name }): Access[] => {
    const full = name === null ? module : `${module}.${name}`;
    const kind = kindOfModule(full) ?? (name === null ? undefined : kindOfPath(full));
    if (kind !== undefined) return [{ kind, path: full, statement }];
    return isOrdinary(module, parentModules) ? [] : [{ kind: 'import', path: module, statement }];
  });
}

function listPaths(statement: Statement, aliases: ReadonlyMap<string, string>): Access[] {
  const seen = new Set<string>();
  return statement.paths.flatMap((path) => {
    const full = resolvePath(path, aliases);
    const kind = kindOfPath(full);
    if (kind === undefined || seen.has(full)) return [];
    seen.add(full);
    // A file handed to the script by its worker is read with open, which is looked at by itself.
    return full === 'json.load' ? [] : [{ kind, path: full, statement }];
  });
}

const OPENERS: ReadonlySet<string> = new Set(['open', 'io.open', 'codecs.open', 'gzip.open', 'bz2.open', 'lzma.open']);

function listOpens(statement: Statement, aliases: ReadonlyMap<string, string>): Access[] {
  return statement.calls.flatMap(({ path, args }) => {
    const full = resolvePath(path, aliases);
    const isMethod = full.endsWith('.open') && !OPENERS.has(full) && !full.startsWith('os.');
    if (!OPENERS.has(full) && !isMethod) return [];
    const positional = args.filter(({ name }) => name === null)[isMethod ? 0 : 1];
    const mode = args.find(({ name }) => name === 'mode') ?? positional;
    // A mode that is not written out may be any.
    const isRead = mode === undefined || (mode.text !== null && /^[rbtU]*$/.test(mode.text));
    return [{ kind: isRead ? ('read' as const) : ('write' as const), path: full, statement }];
  });
}

/** `time.time = …`, `globals()["x"] = …`: what others rely on becomes something else. */
function listPatches(statement: Statement, aliases: ReadonlyMap<string, string>): Access[] {
  return statement.mutates.flatMap((target) => {
    const isNamespace = /^(?:globals|locals|vars)\(\)\[\]|^__builtins__\b/.test(target);
    const [root = '', attribute = '', ...deeper] = target.split('.');
    const isModule = aliases.get(root) !== undefined && /^\w+$/.test(attribute) && deeper.length === 0;
    const isTable = /^(?:modules|environ|meta_path|path)\[\]$/.test(attribute) && aliases.get(root) === 'sys';
    return isNamespace || isModule || isTable ? [{ kind: 'patch' as const, path: target, statement }] : [];
  });
}

/** Names in this script → what they were imported as. */
export function findAliases({ statements }: ScriptFacts): Map<string, string> {
  const aliases = new Map<string, string>();
  for (const { imports } of statements) {
    for (const { module, name, as } of imports) {
      if (name !== null) aliases.set(as, `${module}.${name}`);
      else aliases.set(as, module.startsWith(`${as}.`) ? as : module);
    }
  }
  return aliases;
}

/** A dotted name with its import resolved: `np.load` → `numpy.load`. */
export function resolvePath(path: string, aliases: ReadonlyMap<string, string>): string {
  const [root = '', ...rest] = path.split('.');
  const full = aliases.get(root);
  return full === undefined ? path : [full, ...rest].join('.');
}
