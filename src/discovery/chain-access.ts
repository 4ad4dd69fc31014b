import type { RpcNode } from '../net/rpc.ts';
import type { ChainStore } from './chain-store.ts';
import { findRegistryPlace, type RegistryPlace } from './registries.ts';
import { RegistryCalls, type RegistryProblem } from './registry-calls.ts';

/** What discovery needs to read registries for itself. */
export interface ChainSource {
  /** A node that has proven to be of that chain; null when there is none. */
  readonly openRpc: (chainId: number) => Promise<RpcNode | null>;
  readonly store: ChainStore;
  /** The chain that is read when the caller asks for none. */
  readonly defaultChainId: number;
  /** What the operator says of registries instead of the built-in table. */
  readonly registries?: readonly RegistryPlace[] | undefined;
}

/** A registry whose code answered as one. */
export interface OpenRegistry {
  readonly calls: RegistryCalls;
  readonly genesis: string | null;
}

/** Opens the registry of each chain once per process. */
export class ChainAccess {
  readonly #opened = new Map<number, Promise<OpenRegistry | RegistryProblem>>();

  constructor(readonly source: ChainSource) {}

  /** Never rejects. What failed is tried anew by the next caller. */
  open(chainId: number, signal: AbortSignal): Promise<OpenRegistry | RegistryProblem> {
    const known = this.#opened.get(chainId);
    if (known) return known;
    const opening = this.#open(chainId, signal)
      .catch((): RegistryProblem => 'no_rpc')
      .then((opened) => {
        if (typeof opened === 'string') this.#opened.delete(chainId);
        return opened;
      });
    this.#opened.set(chainId, opening);
    return opening;
  }

  async #open(chainId: number, signal: AbortSignal): Promise<OpenRegistry | RegistryProblem> {
    const place = findRegistryPlace(chainId, this.source.registries);
    if (!place) return 'unknown_registry';
    const rpc = await this.source.openRpc(chainId);
    if (!rpc) return 'no_rpc';
    const calls = new RegistryCalls(rpc, place);
    const checked = await calls.check(signal);
    return typeof checked === 'string' ? checked : { calls, genesis: checked.genesis };
  }
}
