import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';

const randomBytes = crypto.randomBytes;

/**
 * From here on the ids of loops and experiments, and with them which runs are audited, follow from a seed: campaigns
 * can be repeated. Only where nothing else of the process needs to be unforeseeable.
 */
export function drawIdsFrom(seed: string): void {
  let drawn = 0;
  Object.defineProperty(crypto, 'randomBytes', {
    configurable: true,
    value: (size: number) => {
      drawn += 1;
      const digest = crypto.createHash('sha512').update(`${seed} ${drawn}`).digest();
      return size <= digest.length ? digest.subarray(0, size) : randomBytes(size);
    },
  });
  syncBuiltinESMExports();
}
