import { getContract, type Hex, keccak256, parseEventLogs } from 'viem';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { identityRegistryAbi, reputationRegistryAbi } from '../../src/base/abi.ts';
import { CoordinatorError } from '../../src/base/errors.ts';
import { giveFeedback } from '../../src/coordinator/feedback.ts';
import { draftFeedback } from '../../src/coordinator/feedback-plan.ts';
import type { FeedbackView } from '../../src/coordinator/feedback-view.ts';
import type { Services } from '../../src/coordinator/services.ts';
import { HostGate } from '../../src/discovery/host-gate.ts';
import { NO_PROGRESS, readReputation } from '../../src/discovery/reputation.ts';
import { canonicalAddresses } from '../../src/localnet/contracts.ts';
import type { RpcNode } from '../../src/net/rpc.ts';
import { writeFeedback } from '../../src/payment/feedback-journal.ts';
import { freeze, unfreeze } from '../../src/payment/freeze.ts';
import { readPayerKey } from '../localnet-client.ts';
import { encode, type HostileWorker } from './hostile-worker.ts';
import { type House, PeerLab, SCRIPT } from './peer-lab.ts';
import { type SignAnswer, SignerStandIn } from './signer-stand-in.ts';

const CHAIN_ID = 84532;
let lab: PeerLab;
let worker: HostileWorker;
let house: House;
/** The same script at the same worker is the same experiment. */
let scripts = 0;

beforeAll(async () => {
  lab = await PeerLab.open();
});

/** A worker that is paid to the account which owns every agent here. */
async function startWorker(): Promise<HostileWorker> {
  const started = await lab.worker();
  const [, payTo] = await lab.client.getAddresses();
  started.offer = { payTo };
  return started;
}

beforeEach(async () => {
  worker = await startWorker();
  house = await lab.house();
});

afterAll(async () => {
  await lab?.close();
});

const registry = () =>
  getContract({ address: canonicalAddresses.reputation, abi: reputationRegistryAbi, client: lab.client });
const nonceOf = (address: Hex) => lab.client.getTransactionCount({ address });
const rowsOf = async (agentId: bigint) => {
  const [clients, , values] = await registry().read.readAllFeedback([agentId, [], 'starred', 'x402', true]);
  return clients.map((client, index) => [client, values[index]]);
};

/** Gives the worker of an experiment an identity, as discovery would have found it. */
async function identify(agentId: bigint, id: string, at = house): Promise<void> {
  const workerId = `${CHAIN_ID}:${canonicalAddresses.identity.toLowerCase()}:${agentId}`;
  await at.services.db.updateTable('attempts').set({ worker_id: workerId }).where('experiment_id', '=', id).execute();
}

/** A paid experiment of a worker that is an agent of the registry. */
async function runPaid(at = house): Promise<{ id: string; agentId: bigint; owner: Hex }> {
  scripts += 1;
  const { agentId, owner } = await lab.network.registerAgent('data:,', 0);
  const view = await at.run(worker, { train_py: `${SCRIPT}run = ${scripts}\n` });
  await identify(agentId, view.experiment_id, at);
  return { id: view.experiment_id, agentId, owner };
}

async function refusalOf(giving: Promise<FeedbackView>): Promise<string> {
  const error: unknown = await giving.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof CoordinatorError)) throw new Error(`it was not refused as we do: ${String(error)}`);
  expect(error.nextStep).not.toBe('');
  return error.code;
}

/** Proves that nothing went out: the account has sent no transaction meanwhile. */
async function withoutSending<T>(action: () => Promise<T>): Promise<T> {
  const before = await nonceOf(lab.network.payer);
  const result = await action();
  expect(await nonceOf(lab.network.payer)).toBe(before);
  return result;
}

describe('a dry run', () => {
  it('shows the whole transaction and the file, and sends nothing', async () => {
    const { id, agentId, owner } = await runPaid();
    const [attempt] = await house.attempts(id);
    const view = await withoutSending(() => giveFeedback(house.services, id, false));
    expect(view).toMatchObject({
      experiment_id: id,
      state: 'dry_run',
      client: lab.network.payer,
      rating: 100,
      proof_of_payment: true,
      chain: 'base-sepolia',
      chain_id: CHAIN_ID,
      to: canonicalAddresses.reputation,
      value: '0',
      coin: 'ETH',
    });
    expect(Number(view.gas_limit)).toBeGreaterThan(150_000);
    expect(Number(view.gas_limit)).toBeLessThan(500_000);
    expect(BigInt(view.max_fee_wei)).toBe(BigInt(view.gas_limit) * BigInt(view.max_fee_per_gas_wei));
    expect(view.file).toEqual({
      agentRegistry: `eip155:${CHAIN_ID}:${canonicalAddresses.identity}`,
      agentId: Number(agentId),
      clientAddress: `eip155:${CHAIN_ID}:${lab.network.payer}`,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      value: 100,
      valueDecimals: 0,
      tag1: 'starred',
      tag2: 'x402',
      endpoint: `${worker.endpoint}/experiment`,
      proofOfPayment: {
        fromAddress: lab.network.payer,
        toAddress: owner,
        chainId: String(CHAIN_ID),
        txHash: attempt?.paymentTx,
      },
      experiment: {
        experimentId: id,
        trainSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        valBpb: 1.5,
        amount: '50000',
        asset: canonicalAddresses.token,
      },
    });
    expect(await house.services.db.selectFrom('feedbacks').selectAll().execute()).toEqual([]);
    expect(await rowsOf(agentId)).toEqual([]);
  });

  it('proves this very payment and no other one, and leaves the proof out where the chain cannot tell', async () => {
    const { id } = await runPaid();
    const other = await runPaid();
    const [[attempt], [foreign]] = [await house.attempts(id), await house.attempts(other.id)];
    expect(foreign?.paymentTx).not.toBe(attempt?.paymentTx);
    // Paid by the same account to the same one, as much, and for something else.
    for (const payment_tx of [foreign?.paymentTx ?? null, `0x${'12'.repeat(32)}`, 'no hash', null]) {
      const change = { payment_tx, claimed_tx: null };
      await house.services.db.updateTable('attempts').set(change).where('experiment_id', '=', id).execute();
      const view = await giveFeedback(house.services, id, false);
      expect(view).toMatchObject({ proof_of_payment: true, file: { proofOfPayment: { txHash: attempt?.paymentTx } } });
    }
    const { desk } = house.services;
    const fetchState = desk.fetchState.bind(desk);
    desk.fetchState = async () => ({ kind: 'unverifiable' });
    const view = await giveFeedback(house.services, id, false);
    expect(view).toMatchObject({ proof_of_payment: false, proof_problem: expect.stringMatching(/transaction/) });
    expect(view.file).not.toHaveProperty('proofOfPayment');
    desk.fetchState = fetchState;
  });
});

describe('feedback', () => {
  it('is on the chain once, with its file, and counts as paid for whoever reads it', async () => {
    const { id, agentId } = await runPaid();
    const given = await giveFeedback(house.services, id, true);
    expect(given).toMatchObject({ state: 'confirmed', feedback_index: '1', tx: expect.stringMatching(/^0x/) });
    const tx: Hex = `0x${given.tx?.slice(2) ?? ''}`;
    const receipt = await lab.client.getTransactionReceipt({ hash: tx });
    const [event] = parseEventLogs({ abi: reputationRegistryAbi, eventName: 'NewFeedback', logs: receipt.logs });
    expect(event?.args).toMatchObject({ agentId, value: 100n, valueDecimals: 0, tag1: 'starred', tag2: 'x402' });
    const file = Buffer.from(event?.args.feedbackURI.split(',')[1] ?? '', 'base64');
    expect(keccak256(file)).toBe(event?.args.feedbackHash);
    expect(JSON.parse(file.toString())).toEqual(given.file);
    expect((await lab.client.getTransaction({ hash: tx })).value).toBe(0n);

    const again = await withoutSending(() => giveFeedback(house.services, id, true));
    expect(again).toEqual(given);
    expect(await withoutSending(() => giveFeedback(house.services, id, false))).toEqual(given);
    expect(await rowsOf(agentId)).toEqual([[lab.network.payer, 100n]]);

    const { http, openRpc } = house.services;
    const deps = { http, openRpc, gate: new HostGate(), ipfsGateways: [], trustedReviewers: [] };
    const agent = { chainId: CHAIN_ID, registry: canonicalAddresses.identity.toLowerCase(), agentId: String(agentId) };
    const subject = { agent, payees: [], ours: [] };
    const { signal } = new AbortController();
    const read = await readReputation(deps, subject, NO_PROGRESS, signal);
    expect(read?.reputation).toMatchObject({ paid: { count: 1, score: 100 }, others: null });
  });

  it('is refused while spending is frozen, before anything is written', async () => {
    const { id } = await runPaid();
    await freeze(house.services.db, '2026-09-01T00:00:00.000Z');
    expect(await withoutSending(() => refusalOf(giveFeedback(house.services, id, true)))).toBe('spending_frozen');
    expect(await house.services.db.selectFrom('feedbacks').selectAll().execute()).toEqual([]);
    expect(await giveFeedback(house.services, id, false)).toMatchObject({ state: 'dry_run' });
    await unfreeze(house.services.db);
    expect(await giveFeedback(house.services, id, true)).toMatchObject({ state: 'confirmed' });
  });

  it('given twice at once is given once', async () => {
    const { id, agentId } = await runPaid();
    const both = await Promise.allSettled([
      giveFeedback(house.services, id, true),
      giveFeedback(house.services, id, true),
    ]);
    expect(both.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await giveFeedback(house.services, id, true)).toMatchObject({ state: 'confirmed' });
    expect(await rowsOf(agentId)).toHaveLength(1);
  });
});

describe('a crash', () => {
  /** Services whose node breaks off with the first transaction: before it is passed on, or after. */
  function breaking(services: Services, isPassedOn: boolean): Services {
    const wrap = (rpc: RpcNode): RpcNode => ({
      ...rpc,
      request: async (call, options) => {
        if (call.method !== 'eth_sendRawTransaction') return rpc.request(call, options);
        if (isPassedOn) await rpc.request(call, options);
        throw new Error('crash');
      },
    });
    return {
      ...services,
      openRpc: async (chainId) => {
        const rpc = await services.openRpc(chainId);
        return rpc && wrap(rpc);
      },
    };
  }

  it.each([
    ['before it was sent', false],
    ['after it was sent', true],
  ])('%s makes nobody give it twice', async (_when, isPassedOn) => {
    const { id, agentId } = await runPaid();
    await expect(giveFeedback(breaking(house.services, isPassedOn), id, true)).rejects.toThrow('crash');
    const [row] = await house.services.db.selectFrom('feedbacks').selectAll().execute();
    expect(row).toMatchObject({ state: 'signed' });
    expect(await withoutSending(() => giveFeedback(house.services, id, false))).toMatchObject({
      state: 'signed',
      tx: row?.tx,
    });
    const given = await giveFeedback(house.services, id, true);
    expect(given).toMatchObject({ state: 'confirmed', tx: row?.tx });
    expect(await rowsOf(agentId)).toHaveLength(1);
  });

  it('before it was signed goes on with the same plan, and makes a new one when that is old', async () => {
    const { id, agentId } = await runPaid();
    const view = await giveFeedback(house.services, id, false);
    const { db, clock } = house.services;
    const { workerId, client, call, about } = await draftFeedback(house.services, id);
    const gas = { gasLimit: 300_000n, maxFeePerGas: 4_000_000_000n, maxPriorityFeePerGas: 1_000_000_000n };
    const plan = { experimentId: id, chainId: CHAIN_ID, client, call, nonce: view.nonce, ...gas };
    await writeFeedback(db, plan, workerId, about, clock.nowMs() - 200_000);
    const given = await giveFeedback(house.services, id, true);
    expect(given).toMatchObject({ state: 'confirmed' });
    expect(given.gas_limit).not.toBe('300000');
    expect(await rowsOf(agentId)).toHaveLength(1);

    const next = await runPaid();
    const drafted = await draftFeedback(house.services, next.id);
    const young = { ...plan, experimentId: next.id, call: drafted.call, nonce: view.nonce + 1 };
    await writeFeedback(db, young, drafted.workerId, drafted.about, clock.nowMs());
    // Another one has to wait: both would take the account's next number.
    const third = await runPaid();
    expect(await refusalOf(giveFeedback(house.services, third.id, true))).toBe('feedback_busy');
    expect(await giveFeedback(house.services, next.id, true)).toMatchObject({
      state: 'confirmed',
      gas_limit: '300000',
    });
    expect(await giveFeedback(house.services, third.id, true)).toMatchObject({ state: 'confirmed' });
  });

  it('after which the account sent something else with the same number ends it, and it may be given anew', async () => {
    const { id, agentId } = await runPaid();
    await expect(giveFeedback(breaking(house.services, false), id, true)).rejects.toThrow('crash');
    const { payer } = lab.network;
    await lab.client.impersonateAccount({ address: payer });
    const hash = await lab.client.sendTransaction({ account: payer, to: payer, value: 0n });
    await lab.client.waitForTransactionReceipt({ hash });
    await lab.client.stopImpersonatingAccount({ address: payer });
    await lab.client.mine({ blocks: 3 });
    expect(await giveFeedback(house.services, id, true)).toMatchObject({ state: 'replaced' });
    expect(await rowsOf(agentId)).toEqual([]);
    expect(await giveFeedback(house.services, id, true)).toMatchObject({ state: 'confirmed' });
    expect(await rowsOf(agentId)).toHaveLength(1);
  });
});

describe('feedback is refused', () => {
  const refused = (id: string) => withoutSending(() => refusalOf(giveFeedback(house.services, id, true)));

  it('about what does not exist, is not paid, or has no identity', async () => {
    expect(await refused('exp-20260901-0123456789abcdef')).toBe('unknown_experiment');
    const open = await house.submit(worker);
    expect(await refused(open)).toBe('not_finished');
    await house.end(open);
    expect(await refused(open)).toBe('no_identity');
    await house.services.db
      .updateTable('attempts')
      .set({ worker_id: `operator:${worker.endpoint}` })
      .execute();
    expect(await refused(open)).toBe('no_identity');
    await house.services.db
      .updateTable('attempts')
      .set({ worker_id: `${CHAIN_ID}:${canonicalAddresses.token.toLowerCase()}:1` })
      .execute();
    expect(await refused(open)).toBe('no_identity');
    await house.services.db.updateTable('experiments').set({ settlement: 'unknown' }).execute();
    expect(await refused(open)).toBe('not_settled');
  });

  it('about an agent that only says that it is the worker', async () => {
    worker.offer = {};
    const { id } = await runPaid();
    expect(await refused(id)).toBe('identity_unproven');
  });

  it('about an agent that does not exist or is our own, by its owner or its wallet', async () => {
    const { id } = await runPaid();
    await identify(999_999n, id);
    expect(await refused(id)).toBe('unknown_agent');
    const { payer } = lab.network;
    await lab.client.impersonateAccount({ address: payer });
    const hash = await lab.client.writeContract({
      address: canonicalAddresses.identity,
      abi: identityRegistryAbi,
      functionName: 'register',
      args: ['data:,'],
      account: payer,
    });
    const { logs } = await lab.client.waitForTransactionReceipt({ hash });
    const [event] = parseEventLogs({ abi: identityRegistryAbi, eventName: 'Registered', logs });
    const agentId = event?.args.agentId ?? 0n;
    await identify(agentId, id);
    expect(await refused(id)).toBe('own_agent');
    await lab.client.stopImpersonatingAccount({ address: payer });
  });

  it('without gas money, without a node, and with another key than the one that paid', async () => {
    const { id } = await runPaid();
    const { payer } = lab.network;
    const balance = await lab.client.getBalance({ address: payer });
    await lab.client.setBalance({ address: payer, value: 1n });
    expect(await refused(id)).toBe('no_gas_money');
    await lab.client.setBalance({ address: payer, value: balance });
    const cut = { ...house.services, openRpc: async () => null };
    expect(await refusalOf(giveFeedback(cut, id, true))).toBe('no_rpc');
    const signer = await SignerStandIn.start();
    const stranger = await lab.house({
      isWalletFromEnv: true,
      dataDir: house.services.config.dataDir,
      env: { REMOTE_SIGNER_URL: signer.url },
    });
    expect(await withoutSending(() => refusalOf(giveFeedback(stranger.services, id, true)))).toBe('wrong_payer');
    expect(signer.transactionBodies).toEqual([]);
    await signer.close();
  });
});

describe('the rating', () => {
  const ratingOf = async (id: string) => {
    const { agentId } = await lab.network.registerAgent('data:,', 0);
    await identify(agentId, id);
    return giveFeedback(house.services, id, false);
  };

  it('is 0 for a worker that took the money and lost the run, or answered with no result of it', async () => {
    worker.answers.paid = async (exchange) => {
      await exchange.settle();
      exchange.demand();
    };
    const id = await house.submit(worker);
    await house.until(id, ({ settlement }) => settlement === 'settled');
    await lab.passWindow();
    const lost = await house.end(id);
    expect(lost).toMatchObject({ state: 'lost', settlement: 'settled' });
    const because = 'the run was paid and its result never came';
    expect(await ratingOf(id)).toMatchObject({ rating: 0, because, proof_of_payment: true });
    expect((await ratingOf(id)).file).not.toHaveProperty('experiment.valBpb');
    const useless = await startWorker();
    useless.answers = {
      paid: async (exchange) => {
        const receipt = await exchange.settle();
        exchange.text(200, 'no json', { 'payment-response': encode(receipt) });
      },
    };
    house = await lab.house();
    const view = await house.run(useless);
    expect(view.reason_code).toBe('result_not_json');
    expect(await ratingOf(view.experiment_id)).toMatchObject({
      rating: 0,
      because: expect.stringMatching(/no result/),
    });
  });

  it('is 0 for a job that failed at the worker, and open for a score that nobody believes', async () => {
    const { id } = await runPaid();
    const { db } = house.services;
    const judged = { championId: null, delta: null, sigma: null, z: null };
    const change = (state: string, verdict: string, code: string) =>
      db
        .updateTable('experiments')
        .set({
          state,
          verdict,
          judgement: JSON.stringify({ verdict, because: 'test', ...judged }),
          reason: JSON.stringify({ code, text: 'test' }),
        })
        .execute();
    await change('failed', 'FAILED', 'job_failed');
    expect(await giveFeedback(house.services, id, false)).toMatchObject({ rating: 0 });
    for (const verdict of ['SUSPECT', 'INVALID']) {
      await change('published', verdict, 'no_score');
      expect(await refusalOf(giveFeedback(house.services, id, true))).toBe('outcome_undecided');
    }
  });

  it('is left open when the script failed, until the same script ran elsewhere', async () => {
    worker.answers = { paid: (exchange) => exchange.serve({ status: 'failed', return_code: 1, val_bpb: null }) };
    const failed = await house.run(worker);
    expect(failed).toMatchObject({ state: 'failed', settlement: 'settled' });
    const { agentId } = await lab.network.registerAgent('data:,', 0);
    await identify(agentId, failed.experiment_id);
    expect(await refusalOf(giveFeedback(house.services, failed.experiment_id, true))).toBe('outcome_undecided');
    const good = await startWorker();
    const second = await lab.house({ dataDir: house.services.config.dataDir });
    const ran = await second.run(good, { repeat: true });
    expect(ran.state).toBe('published');
    const view = await giveFeedback(house.services, failed.experiment_id, false);
    expect(view).toMatchObject({ rating: 0, because: expect.stringContaining(ran.experiment_id) });
  });
});

describe('a remote signer', () => {
  let signer: SignerStandIn;

  beforeEach(async () => {
    signer = await SignerStandIn.start(readPayerKey(lab.network));
    house = await lab.house({ isWalletFromEnv: true, env: { REMOTE_SIGNER_URL: signer.url } });
    return () => signer.close();
  });

  it('is asked for one transaction, in decimal texts', async () => {
    const { id, agentId } = await runPaid();
    const shown = await giveFeedback(house.services, id, false);
    expect(signer.transactionBodies).toEqual([]);
    const given = await giveFeedback(house.services, id, true);
    expect(given).toMatchObject({ state: 'confirmed' });
    expect(signer.transactionBodies.map((body) => JSON.parse(body))).toEqual([
      {
        chain_id: String(CHAIN_ID),
        to: canonicalAddresses.reputation,
        nonce: String(shown.nonce),
        gas_limit: given.gas_limit,
        max_fee_per_gas: given.max_fee_per_gas_wei,
        max_priority_fee_per_gas: expect.stringMatching(/^\d+$/),
        value: '0',
        data: given.data,
      },
    ]);
    expect(await rowsOf(agentId)).toHaveLength(1);
  });

  it.each<[string, (good: Hex) => SignAnswer | Promise<SignAnswer>, string]>([
    ['nothing', () => ({ body: {} }), 'signer_bad_answer'],
    ['another transaction', () => ({ body: { signed_transaction: '0x02c0' } }), 'bad_signature'],
    ['a longer one', (good) => ({ body: { signed_transaction: `${good}00` } }), 'bad_signature'],
    ['a refusal', () => ({ status: 403, body: { error: 'evil words' } }), 'signer_unauthorized'],
    ['a reset', () => 'reset', 'signer_unreachable'],
  ])('that answers with %s has nothing sent, and it can be tried again', async (_what, answer, code) => {
    const { id, agentId } = await runPaid();
    signer.onTransaction = answer;
    expect(await withoutSending(() => refusalOf(giveFeedback(house.services, id, true)))).toBe(code);
    expect(await house.services.db.selectFrom('feedbacks').selectAll().execute()).toEqual([]);
    signer.onTransaction = (good) => ({ body: { signed_transaction: good } });
    expect(await giveFeedback(house.services, id, true)).toMatchObject({ state: 'confirmed' });
    expect(await rowsOf(agentId)).toHaveLength(1);
  });
});
