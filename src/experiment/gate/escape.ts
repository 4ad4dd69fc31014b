import type { ScriptFacts, Statement } from '../script/facts.ts';
import { findAliases, resolvePath } from './access.ts';
import { type Finding, findNew, quote, type RuleInput } from './finding.ts';

/** Calls that take the path of a file. */
const FILE_CALL =
  /^(?:(?:io\.|codecs\.|gzip\.|bz2\.|lzma\.)?open|(?:pathlib\.)?(?:Pure)?(?:Posix)?Path|os\..+|shutil\..+|glob\..+|numpy\.(?:load|save|fromfile|memmap|loadtxt|savetxt|savez).*|torch\.(?:load|save))$/;
/** Where every program may look or leave something. */
const ALLOWED =
  /^(?:\/tmp(?:\/|$)|\/dev\/(?:null|shm|stdout|stderr|urandom)|\/proc\/(?:cpuinfo|meminfo|self\/status|stat)$|\/sys\/|~\/\.cache\/)/;
/** What a training run never has to see. */
const PRIVATE = /^(?:~|\/(?:etc|root|home|var|run|proc|boot|mnt|srv)(?:\/|$))/;

interface Place {
  readonly path: string;
  readonly statement: Statement;
  readonly isUp: boolean;
}

/** A path that leads out of the run's own folder; needs no knowledge of the task. */
export function findEscapes({ variant, parent }: RuleInput): Finding[] {
  const fresh = findNew(listPlaces(variant.facts), parent ? listPlaces(parent.facts) : [], ({ path }) => path);
  return fresh.map(({ path, statement, isUp }) => ({
    rule: 'escape',
    verdict: isUp || PRIVATE.test(path) ? 'refuse' : 'warn',
    line: statement.line,
    reason: `the path ${quote(path)} leads out of the folder of the run`,
  }));
}

function listPlaces(facts: ScriptFacts): Place[] {
  const aliases = findAliases(facts);
  return facts.statements.flatMap((statement) =>
    statement.calls
      .filter(({ path }) => FILE_CALL.test(resolvePath(path, aliases)))
      .flatMap(({ args }) => args)
      .flatMap(({ text }) => {
        if (text === null) return [];
        const path = text.replaceAll('\\', '/');
        const isUp = path.split('/').includes('..');
        const isOutside = isUp || (/^(?:\/|~|[A-Za-z]:\/)/.test(path) && (!ALLOWED.test(path) || isUp));
        return isOutside ? [{ path, statement, isUp }] : [];
      }),
  );
}
