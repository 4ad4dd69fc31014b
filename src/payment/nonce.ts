import { createHmac } from 'node:crypto';
import { encodeAbiParameters, type Hex, keccak256 } from 'viem';
import { type Sha256, sha256ToBytes32 } from '../base/hash.ts';

const DOMAIN = 'autoresearch-coordinator/x402-nonce/1';

const PARAMETERS = [
  { type: 'string' },
  { type: 'string' },
  { type: 'uint256' },
  { type: 'bytes32' },
  { type: 'string' },
  { type: 'bytes32' },
] as const;

/**
 * The nonce of one attempt (x402.md section 8.2). However often an attempt is signed or sent, the chain accepts one
 * payment with it; revealing its salt later proves which code that payment bought, and nothing else.
 * @param codeHash hash of the variant  @param salt `createSalt` of the same attempt
 */
export function createNonce(experimentId: string, attempt: number, codeHash: Sha256, worker: string, salt: Hex): Hex {
  return keccak256(
    encodeAbiParameters(PARAMETERS, [DOMAIN, experimentId, BigInt(attempt), sha256ToBytes32(codeHash), worker, salt]),
  );
}

/** The salt of one attempt, from the store's master secret (hex): revealing one reveals no other. */
export function createSalt(masterSecret: string, experimentId: string, attempt: number): Hex {
  const mac = createHmac('sha256', Buffer.from(masterSecret, 'hex')).update(`${experimentId}\n${attempt}`);
  return `0x${mac.digest('hex')}`;
}
