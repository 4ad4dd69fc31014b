import type { FacilitatorEvmSigner } from '@x402/evm';
import type { Abi, Hex, TypedData } from 'viem';
import * as z from 'zod';
import type { LocalClient } from './chain.ts';

// The SDK hands over its own constants as `unknown[]` and records; viem wants them by name.
const abiSchema = z.custom<Abi>(Array.isArray);
const typesSchema = z.custom<TypedData>((value) => typeof value === 'object' && value !== null);

/**
 * The facilitator's account on the local chain. The node signs, and transactions are handed over one after the
 * other: two at once would be given the same nonce.
 */
export function createFacilitatorSigner(client: LocalClient, account: Hex): FacilitatorEvmSigner {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(send: () => Promise<T>): Promise<T> => {
    const turn = last.then(send, send);
    last = turn.catch(() => {});
    return turn;
  };
  return {
    getAddresses: () => [account],
    readContract: ({ address, abi, functionName, args = [] }) =>
      client.readContract({ address, abi: abiSchema.parse(abi), functionName, args }),
    verifyTypedData: ({ address, domain, types, primaryType, message, signature }) =>
      client.verifyTypedData({ address, domain, types: typesSchema.parse(types), primaryType, message, signature }),
    writeContract: ({ address, abi, functionName, args, gas, dataSuffix }) =>
      inTurn(() =>
        client.writeContract({
          account,
          address,
          abi: abiSchema.parse(abi),
          functionName,
          args,
          ...(gas === undefined ? {} : { gas }),
          ...(dataSuffix === undefined ? {} : { dataSuffix }),
        }),
      ),
    sendTransaction: ({ to, data }) => inTurn(() => client.sendTransaction({ account, to, data })),
    waitForTransactionReceipt: ({ hash }) => client.waitForTransactionReceipt({ hash, timeout: 30_000 }),
    getCode: ({ address }) => client.getCode({ address }),
  };
}
