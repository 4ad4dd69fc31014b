import { isDeepStrictEqual } from 'node:util';
import type { JsonObject } from '../base/json.ts';
import { readKnobs } from './script/normal-form.ts';

/** A program: source and config. */
interface Program {
  readonly source: string;
  readonly config: JsonObject;
}

/**
 * The config of a variant made from a base: the base's, since that is what scored, with the values that are given now
 * put over it. A constant that the source now sets otherwise is left to the source: the config would hide the edit.
 */
export function inheritConfig(base: Program, source: string, given: JsonObject): JsonObject {
  if (Object.keys(base.config).length === 0) return given;
  const [before, now] = [readKnobs(base.source), readKnobs(source)];
  const isSame = (name: string) => {
    const [was, is] = [before.get(name), now.get(name)];
    // Where its value is no plain literal, the lines that set it are compared.
    return was && is
      ? isDeepStrictEqual(was.value, is.value)
      : isDeepStrictEqual(findLines(base.source, name), findLines(source, name));
  };
  const kept = Object.entries(base.config).filter(([name]) => isSame(name));
  return { ...Object.fromEntries(kept), ...given };
}

/** Lines that name a constant, whatever they do with it. */
function findLines(source: string, name: string): string[] {
  const lines = source.split('\n').map((line) => line.replace(/#.*/, '').trim());
  return lines.filter((line) => line.split(/\W+/).includes(name));
}
