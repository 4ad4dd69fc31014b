import { type Hex, keccak256 } from 'viem';

/** What a feedback file says (erc8004.md section 7). */
export interface FeedbackFacts {
  readonly chainId: number;
  /** The identity registry of the agent. */
  readonly registry: Hex;
  /** Decimal. */
  readonly agentId: string;
  /** Who paid and rates. */
  readonly client: Hex;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly value: number;
  readonly tags: readonly [string, string];
  readonly endpoint: string;
  /** The payment as the chain has it; null when it is not proven, and then nothing of it is said. */
  readonly proof: { readonly from: Hex; readonly to: Hex; readonly chainId: number; readonly tx: Hex } | null;
  readonly experiment: {
    readonly experimentId: string;
    /** `sha256:` and 64 hex digits. */
    readonly trainHash: string;
    readonly valBpb: number | null;
    /** Atomic. */
    readonly amountAtomic: bigint;
    readonly asset: Hex;
  };
}

/** A file and how it is carried in a transaction. */
export interface FeedbackFile {
  readonly document: Readonly<Record<string, unknown>>;
  /** The very bytes of the file, as a `data:` URI. */
  readonly uri: string;
  /** Keccak-256 of these bytes. */
  readonly hash: Hex;
}

/** Writes a feedback file whose values are those of the call on the chain. */
export function buildFeedbackFile(facts: FeedbackFacts): FeedbackFile {
  const { chainId, proof, experiment } = facts;
  const document = {
    agentRegistry: `eip155:${chainId}:${facts.registry}`,
    agentId: writeAgentId(facts.agentId),
    clientAddress: `eip155:${chainId}:${facts.client}`,
    createdAt: facts.createdAt,
    value: facts.value,
    valueDecimals: 0,
    tag1: facts.tags[0],
    tag2: facts.tags[1],
    endpoint: facts.endpoint,
    ...(proof === null
      ? {}
      : {
          proofOfPayment: {
            fromAddress: proof.from,
            toAddress: proof.to,
            chainId: String(proof.chainId),
            txHash: proof.tx,
          },
        }),
    experiment: {
      experimentId: experiment.experimentId,
      trainSha256: experiment.trainHash.replace(/^sha256:/, ''),
      ...(experiment.valBpb === null ? {} : { valBpb: experiment.valBpb }),
      amount: experiment.amountAtomic.toString(),
      asset: experiment.asset,
    },
  };
  const bytes = Buffer.from(JSON.stringify(document));
  return { document, uri: `data:application/json;base64,${bytes.toString('base64')}`, hash: keccak256(bytes) };
}

/** A number where JSON can hold it exactly, as the ERC shows it. */
function writeAgentId(agentId: string): number | string {
  const number = Number(agentId);
  return Number.isSafeInteger(number) ? number : agentId;
}
