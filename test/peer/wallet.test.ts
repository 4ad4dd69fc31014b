import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Hex } from 'viem';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import * as z from 'zod';
import { usdcMintAbi } from '../../src/localnet/contracts.ts';
import { freeze, unfreeze } from '../../src/payment/freeze.ts';
import { type HostileWorker, PRICE_ATOMIC } from './hostile-worker.ts';
import { type House, PeerLab } from './peer-lab.ts';

const PRICE = Number(PRICE_ATOMIC);
const NOTHING = { held: 0, spent: 0, released: 0 };
const RELEASED = { held: 0, spent: 0, released: PRICE };
const SPENT = { held: 0, spent: PRICE, released: 0 };
const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x[0-9a-fA-F]{40}$/.test(value);
const Created = z.object({ address: z.custom<Hex>(isHex), keystore: z.string(), password_file: z.string() });

let lab: PeerLab;
let worker: HostileWorker;
let house: House;

beforeAll(async () => {
  lab = await PeerLab.open();
});

beforeEach(async () => {
  worker = await lab.worker();
  house = await lab.house();
});

afterAll(async () => {
  await lab?.close();
});

describe('a keystore', () => {
  let created: z.infer<typeof Created>;

  beforeAll(async () => {
    const env = { ...process.env, ...lab.network.env, DATA_DIR: lab.folder() };
    const out = execFileSync(process.execPath, [inject('cli'), 'wallet', 'create', '--json'], {
      env,
      encoding: 'utf8',
    });
    created = Created.parse(JSON.parse(out));
    const [account] = await lab.client.getAddresses();
    await lab.client.writeContract({
      address: lab.network.usdc,
      abi: usdcMintAbi,
      functionName: 'mint',
      args: [created.address, 10n * PRICE_ATOMIC],
      account: account ?? lab.network.payer,
    });
  });

  const open = (changes: Readonly<Record<string, string>> = {}) =>
    lab.house({
      isWalletFromEnv: true,
      env: {
        AUTORESEARCH_KEYSTORE: created.keystore,
        AUTORESEARCH_KEYSTORE_PASSWORD_FILE: created.password_file,
        ...changes,
      },
    });

  it('made by `wallet create` pays', async () => {
    const before = await lab.balance(created.address);
    const view = await (await open()).run(worker);
    expect(view).toMatchObject({ state: 'published', settlement: 'settled' });
    expect(await lab.balance(created.address)).toBe(before - PRICE_ATOMIC);
    expect(await lab.balance(worker.payTo)).toBe(PRICE_ATOMIC);
  });

  it('with a wrong password pays nothing and says which variable to mend', async () => {
    const file = join(lab.folder(), 'password');
    writeFileSync(file, 'not the password\n', { mode: 0o600 });
    const opened = await open({ AUTORESEARCH_KEYSTORE_PASSWORD_FILE: file });
    const view = await opened.run(worker);
    expect(view).toMatchObject({ state: 'refused', settlement: 'none', reason_code: 'bad_configuration' });
    expect(view.reason).toContain('AUTORESEARCH_KEYSTORE_PASSWORD_FILE');
    expect(view.reason).not.toContain('not the password');
    expect(worker.payments).toEqual([]);
    expect(await opened.ledger(view.experiment_id)).toEqual(NOTHING);
  });

  it('that others may read is refused, as is its password', async () => {
    for (const file of [created.keystore, created.password_file]) {
      chmodSync(file, 0o644);
      const view = await (await open()).run(worker);
      expect(view).toMatchObject({ state: 'refused', reason_code: 'bad_configuration' });
      expect(`${view.reason} ${view.next_step}`).toContain('chmod 600');
      chmodSync(file, 0o600);
    }
    expect(worker.payments).toEqual([]);
  });

  it('of another address than the payer that is configured pays nothing', async () => {
    const view = await (await open({ AUTORESEARCH_PAYER: lab.network.payer })).run(worker);
    expect(view).toMatchObject({ state: 'refused', reason_code: 'bad_configuration' });
    expect(worker.payments).toEqual([]);
  });
});

describe('a freeze', () => {
  const stop = () => freeze(house.services.db, new Date().toISOString());
  const allow = () => unfreeze(house.services.db);

  it('stops what is queued before anything is signed, and lets it be submitted again afterwards', async () => {
    const id = await house.submit(worker);
    await stop();
    expect(await house.end(id)).toMatchObject({ state: 'refused', reason_code: 'spending_frozen' });
    expect(house.signed).toEqual([]);
    expect(worker.payments).toEqual([]);
    expect(await house.ledger(id)).toEqual(NOTHING);
    await allow();
    expect(await house.run(worker)).toMatchObject({ state: 'published', settlement: 'settled' });
  });

  it('stops what is reserved before it is signed, and gives the price back', async () => {
    house.haltAt = 'reserved';
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'reserved');
    expect(await house.ledger(id)).toEqual({ held: PRICE, spent: 0, released: 0 });
    await stop();
    await house.restart();
    expect(await house.end(id)).toMatchObject({ state: 'refused', reason_code: 'spending_frozen' });
    expect(house.signed).toEqual([]);
    expect(worker.payments).toEqual([]);
    expect(await house.ledger(id)).toEqual(RELEASED);
  });

  it('stops what is signed before it is sent, and gives the price back', async () => {
    house.haltAt = 'signed';
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'signed');
    await stop();
    await house.restart();
    expect(await house.end(id)).toMatchObject({ state: 'refused', reason_code: 'spending_frozen' });
    expect(house.signed).toHaveLength(1);
    expect(worker.payments).toEqual([]);
    expect(await house.ledger(id)).toEqual(RELEASED);
  });

  it('stops a payment from being sent again, and lets it go on with the same one afterwards', async () => {
    worker.answers.paid = async (exchange) => {
      if (exchange.arrivals > 1) return exchange.serve();
      await stop();
      exchange.reset();
    };
    const id = await house.submit(worker);
    await house.untilReason(id, 'no_answer_connection_lost');
    const looks = () => worker.log.filter(({ path }) => path.includes('/experiments/')).length;
    await expect.poll(looks, { timeout: 10_000 }).toBeGreaterThan(5);
    expect(worker.payments).toHaveLength(1);
    expect(await house.ledger(id)).toEqual({ held: PRICE, spent: 0, released: 0 });
    await allow();
    expect(await house.end(id)).toMatchObject({ state: 'published', settlement: 'settled', attempt: 1 });
    expect(worker.payments).toHaveLength(2);
    await house.expectOnePayment(id, worker, PRICE_ATOMIC);
    expect(await house.ledger(id)).toEqual(SPENT);
  });

  it('of a payment that is on its way does not hide what became of it', async () => {
    worker.answers.paid = async (exchange) => {
      await stop();
      await exchange.serve();
    };
    const id = await house.submit(worker);
    expect(await house.end(id)).toMatchObject({ state: 'published', settlement: 'settled' });
    expect(await house.ledger(id)).toEqual(SPENT);
  });
});
