import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../src/base/log.ts';
import { systemClock } from '../src/base/time.ts';
import { HealthProber } from '../src/discovery/health.ts';
import { HostGate } from '../src/discovery/host-gate.ts';
import { DomainChecker } from '../src/discovery/identity.ts';
import { IndexApi } from '../src/discovery/index-api.ts';
import { Discovery } from '../src/discovery/ladder.ts';
import { RegistrationReader } from '../src/discovery/registration-source.ts';
import { fetchFeedbackFile } from '../src/discovery/reputation-file.ts';
import { NetworkError } from '../src/net/errors.ts';
import { HttpClient, type Lookup } from '../src/net/http.ts';
import { WorkerClient } from '../src/worker/client.ts';
import { parseJob } from '../src/worker/job.ts';
import { HOSTILE_NAMES, listForbiddenUrls } from './ssrf-targets.ts';
import { Trap } from './trap.ts';

const REGISTRY = '0x8004a818bfb912233c491871b3d84c89a494bd9e';
const agent = { chainId: 84532, registry: REGISTRY, agentId: '1' };
const signal = new AbortController().signal;
const budget = { signal, retryUntilMs: 0 };

let trap: Trap;
let names: Map<string, () => readonly string[]>;
/** A host that the operator allows; strangers make it redirect. */
let origin: { server: Server; host: string; seen: IncomingMessage[]; answer: (response: ServerResponse) => void };
let http: HttpClient;

const lookup: Lookup = (name, _options, callback) => {
  const found = names.get(name.toLowerCase().replace(/\.$/, ''))?.();
  if (found)
    callback(
      null,
      found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  else callback(Object.assign(new Error('unknown name'), { code: 'ENOTFOUND' }), []);
};

beforeAll(async () => {
  trap = await Trap.open();
  names = new Map(Object.entries(HOSTILE_NAMES).map(([name, list]) => [name, () => list]));
  // Were a name of this kind resolved at all, it would lead to the trap.
  for (const name of [
    'localhost',
    'a.localhost',
    'a.b.localhost',
    'localhost.localdomain',
    'printer.local',
    'rig.local',
  ])
    names.set(name, () => ['93.184.216.34']);
  for (const name of ['metadata.google.internal', 'router.home.arpa', 'x.internal', 'public.example'])
    names.set(name, () => ['93.184.216.34']);
  const server = createServer((request, response) => {
    origin.seen.push(request);
    origin.answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  origin = { server, host: `127.0.0.1:${address.port}`, seen: [], answer: (response) => response.end('{}') };
  http = new HttpClient({ allowHttpHosts: [origin.host], userAgent: 'test/1', lookup });
});

afterEach(() => {
  trap.reset();
  origin.seen.length = 0;
});

afterAll(async () => {
  await http.close();
  origin.server.closeAllConnections();
  await new Promise((resolve) => origin.server.close(resolve));
  await trap.close();
});

const redirectTo = (location: string, status = 308) => {
  // Node refuses control characters in headers: hostile servers send such addresses percent-encoded or not at all.
  const spelled = Buffer.from(location.replace(/[\t\n]/g, '')).toString('latin1');
  origin.answer = (response) => response.writeHead(status, { location: spelled }).end('{}');
};
const outcomeOf = (request: Promise<unknown>) =>
  request.then(
    (answer) => ({ answer }),
    (error: unknown) => ({ error }),
  );
const targets = () => listForbiddenUrls(trap.port);
const expectUntouched = (what: string) =>
  expect({ what, attempts: trap.attempts, arrivals: trap.arrivals }).toEqual({ what, attempts: [], arrivals: [] });

describe('the trap', () => {
  it('notices what reaches it, by every address of this machine, and what only tries', async () => {
    const open = new HttpClient({
      allowHttpHosts: [
        `127.0.0.1:${trap.port}`,
        `127.0.0.5:${trap.port}`,
        `[::1]:${trap.port}`,
        `10.0.0.1:${trap.port}`,
      ],
      userAgent: 'test/1',
      lookup,
    });
    for (const host of ['127.0.0.1', '127.0.0.5', '[::1]', '10.0.0.1'])
      await outcomeOf(open.request({ url: `http://${host}:${trap.port}/`, maxBytes: 1, deadlineMs: 5_000 }));
    await open.close();
    expect(trap.attempts).toEqual(['127.0.0.1', '127.0.0.5', '::1', '10.0.0.1']);
    await expect.poll(() => trap.arrivals).toEqual(['127.0.0.1', '127.0.0.5', '::1']);
  });

  it('is where a public name leads: only the guard keeps a stranger from it', async () => {
    await outcomeOf(http.request({ url: `https://public.example:${trap.port}/`, maxBytes: 1, deadlineMs: 5_000 }));
    expect(trap.attempts).toEqual(['93.184.216.34']);
    await expect.poll(() => trap.arrivals.length).toBe(1);
  });
});

it('holds more than sixty kinds of addresses that are refused before a byte is sent', async () => {
  expect(targets().length).toBeGreaterThan(60);
  for (const [what, url] of targets()) {
    const outcome = await outcomeOf(http.request({ url, method: 'POST', body: 'x', maxBytes: 10, deadlineMs: 5_000 }));
    expect([what, outcome]).toEqual([what, { error: expect.any(NetworkError) }]);
    const { error } = { error: undefined, ...outcome };
    if (!(error instanceof NetworkError)) continue;
    expect([what, error.isSent, error.problem]).toEqual([what, false, expect.stringMatching(/^blocked_/)]);
    expectUntouched(what);
  }
});

describe('a redirect by a host that may be asked', () => {
  it('leads to none of them, whichever status it has and whoever follows', async () => {
    const gate = new HostGate();
    const reader = new RegistrationReader({
      http,
      gate,
      clock: systemClock,
      ipfsGateways: [`http://${origin.host}/ipfs`],
    });
    const domains = new DomainChecker({ http, gate, clock: systemClock });
    const prober = new HealthProber({ http, gate, clock: systemClock });
    const api = new IndexApi({
      http,
      gate,
      clock: systemClock,
      scanApiUrl: `http://${origin.host}`,
      scanApiKey: 'secret',
    });
    const worker = new WorkerClient(http);
    const CID = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi';
    let turn = 0;
    for (const [what, url] of targets()) {
      turn += 1;
      redirectTo(url, [301, 302, 303, 307, 308][turn % 5]);
      const endpoint = `http://${origin.host}/${turn}`;
      const all = await Promise.all([
        reader.read(`${endpoint}/card.json`, 5_000, signal),
        reader.read(`ipfs://${CID}/${turn}`, 5_000, signal),
        domains.check(endpoint, agent, signal, Date.now() + 60_000),
        outcomeOf(api.fetchList({ search: null, chainId: null, limit: 20, page: 1 }, budget)),
        outcomeOf(api.fetchDetail(agent, budget)),
        prober.probe(endpoint, signal),
        worker.probe(endpoint),
        worker.fetchHealth(endpoint),
        worker.fetchStoredRun(endpoint, 'x'),
        worker.fetchJobResult(`${endpoint}/jobs/1/result`, 'Bearer secret'),
        worker.fetchJobList(`${endpoint}/jobs`, 'secret'),
        fetchFeedbackFile({ http, gate, ipfsGateways: [] }, `${endpoint}/feedback.json`, signal),
        outcomeOf(worker.submit(endpoint, new TextEncoder().encode('{}'), { 'PAYMENT-SIGNATURE': 'secret' }, 5_000)),
      ]);
      expect([what, all[0].ok, all[1].ok, all[2]]).toEqual([what, false, false, 'unreachable']);
      expectUntouched(what);
    }
    expect(origin.seen.length).toBeGreaterThan(10 * turn);
  });

  it('is not followed to another public host by those who ask one host alone, and never with a key', async () => {
    redirectTo(`https://public.example:${trap.port}/`);
    const worker = new WorkerClient(http);
    const gate = new HostGate();
    const api = new IndexApi({
      http,
      gate,
      clock: systemClock,
      scanApiUrl: `http://${origin.host}`,
      scanApiKey: 'secret',
    });
    const endpoint = `http://${origin.host}/w`;
    await worker.probe(endpoint);
    await worker.submit(endpoint, new Uint8Array(), { 'PAYMENT-SIGNATURE': 'secret' }, 5_000);
    await worker.fetchJobResult(`${endpoint}/result`, 'Bearer secret');
    await new HealthProber({ http, gate, clock: systemClock }).probe(endpoint, signal);
    await new DomainChecker({ http, gate, clock: systemClock }).check(endpoint, agent, signal);
    await outcomeOf(api.fetchDetail(agent, budget));
    expect(origin.seen).toHaveLength(6);
    expectUntouched('one host alone');
    // A registration may lie elsewhere: here the redirect is followed, so that the watch is known to see it.
    const reader = new RegistrationReader({ http, gate, clock: systemClock, ipfsGateways: [] });
    await reader.read(`${endpoint}/card.json`, 5_000, signal);
    expect(trap.attempts).toEqual(['93.184.216.34']);
  });
});

describe('every user of the network', () => {
  it('refuses them as agentURI, gateway, endpoint of a worker and address of a job', async () => {
    origin.answer = (response) => response.end('{}');
    const gate = new HostGate();
    const worker = new WorkerClient(http);
    const reader = new RegistrationReader({ http, gate, clock: systemClock, ipfsGateways: [] });
    const domains = new DomainChecker({ http, gate, clock: systemClock });
    const prober = new HealthProber({ http, gate, clock: systemClock });
    for (const [what, url] of targets()) {
      const read = await reader.read(url, 5_000, signal);
      expect([what, read.ok]).toEqual([what, false]);
      if (/^https?:/.test(url) && URL.canParse(url)) {
        const gateways = new RegistrationReader({ http, gate, clock: systemClock, ipfsGateways: [url] });
        expect(
          (await gateways.read('ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi', 5_000, signal)).ok,
        ).toBe(false);
        expect([what, await domains.check(url, agent, signal)]).toEqual([what, 'unreachable']);
      }
      await outcomeOf(prober.probe(url, signal));
      const file = await fetchFeedbackFile({ http, gate, ipfsGateways: [] }, url, signal);
      expect([what, typeof file]).toEqual([what, 'string']);
      for (const ask of [
        worker.probe(url),
        worker.submit(url, new Uint8Array(), { 'PAYMENT-SIGNATURE': 'secret' }, 5_000),
      ])
        expect([what, await outcomeOf(ask)]).toEqual([what, { error: expect.any(Error) }]);
      await outcomeOf(worker.fetchHealth(url));
      await outcomeOf(worker.fetchStoredRun(url, 'x'));
      await outcomeOf(worker.fetchJobList(url, 'secret'));
      await outcomeOf(worker.fetchJobResult(url, 'Bearer secret'));
      const job = { statusUrl: url, resultUrl: url, jobToken: 'secret' };
      const parsed = parseJob(`http://${origin.host}/w`, new TextEncoder().encode(JSON.stringify(job)), 0);
      // What is left is a path of the worker's own host.
      if (parsed !== null) expect([what, new URL(parsed.statusUrl).host]).toEqual([what, origin.host]);
      expectUntouched(what);
    }
  });

  it('refuses them all at once in a discovery, whatever part of a registration they stand in', async () => {
    const rows = targets().flatMap(([, url], index) => {
      const row = (id: number, more: object) => ({
        chain_id: 84532,
        token_id: id,
        contract_address: REGISTRY,
        ...more,
      });
      const document = { services: [{ name: 'web', endpoint: url }], skills: ['devops_mlops/model_versioning'] };
      return [
        row(3 * index, { raw_metadata: { offchain_uri: url } }),
        row(3 * index + 1, { raw_metadata: { offchain_content: document } }),
        row(3 * index + 2, { agent_url: url }),
      ];
    });
    const index = new Map(rows.map((row) => [`/api/v1/public/agents/84532/${row.token_id}`, row]));
    origin.server.removeAllListeners('request');
    origin.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const detail = index.get(request.url ?? '');
      const data = detail ?? rows;
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ success: true, data }));
    });
    const discovery = new Discovery({
      http,
      scanApiUrl: `http://${origin.host}`,
      scanApiKey: 'secret',
      operatorWorkers: targets().map(([, url]) => url),
      blockedWorkers: [],
      ipfsGateways: [`https://127.0.0.1:${trap.port}`],
      cache: { load: async () => undefined, save: async () => undefined },
      clock: systemClock,
      log: silentLog,
    });
    const { workers, hidden } = await discovery.discover({
      limit: 1_000,
      includeUnreachable: true,
      deadlineMs: 30_000,
    });
    await discovery.close();
    expect(workers.filter(({ hiddenReason }) => hiddenReason === undefined)).toEqual([]);
    expect(workers.length).toBeGreaterThan(200);
    expect(hidden).not.toHaveProperty('internal_error');
    expectUntouched('discovery');
  });
});

describe('a name that changes its mind', () => {
  it('is judged anew at every connection: public first, private next', async () => {
    for (const later of ['127.0.0.1', '::1', '::ffff:7f00:1', '10.0.0.1', '169.254.169.254', '64:ff9b:1::7f00:1']) {
      let asked = 0;
      names.set('rebinding.example', () => [asked++ === 0 ? '93.184.216.34' : later]);
      const url = `https://rebinding.example:${trap.port}/`;
      const problems: unknown[] = [];
      for (let time = 0; time < 3; time += 1) {
        const outcome = await outcomeOf(http.request({ url, maxBytes: 10, deadlineMs: 5_000 }));
        if ('error' in outcome && outcome.error instanceof NetworkError) problems.push(outcome.error.problem);
      }
      expect([later, problems]).toEqual([later, ['connect_failed', 'blocked_address', 'blocked_address']]);
      expect([later, asked, trap.attempts]).toEqual([later, 3, ['93.184.216.34']]);
      trap.reset();
    }
  });

  it('is resolved once per connection: there is no check before that another answer could follow', async () => {
    let asked = 0;
    names.set('once.example', () => {
      asked += 1;
      return ['93.184.216.34', '2606:4700:4700::1111'];
    });
    await outcomeOf(http.request({ url: `https://once.example:${trap.port}/`, maxBytes: 10, deadlineMs: 5_000 }));
    expect(asked).toBe(1);
    expect(new Set(trap.attempts)).toEqual(new Set(['93.184.216.34', '2606:4700:4700::1111']));
  });
});

describe("the operator's list of hosts for http", () => {
  it.each([
    ['rig.lan', ['http://x.rig.lan:PORT/', 'http://rig.lan.evil.example:PORT/', 'http://rig.lan.:PORT/']],
    ['127.0.0.1:1', ['http://127.0.0.1:PORT/', 'https://127.0.0.1:PORT/', 'http://127.0.0.2:1/', 'http://127.1:PORT/']],
    ['localhost:1', ['http://localhost:PORT/', 'http://127.0.0.1:1/', 'http://a.localhost:1/', 'http://localhost.:1/']],
  ])('with %s opens nothing beside it', async (allowed, urls) => {
    const narrow = new HttpClient({ allowHttpHosts: [allowed], userAgent: 'test/1', lookup });
    for (const url of urls) {
      const asked = url.replace('PORT', `${trap.port}`);
      const outcome = await outcomeOf(narrow.request({ url: asked, maxBytes: 10, deadlineMs: 5_000 }));
      expect([asked, outcome]).toEqual([asked, { error: expect.objectContaining({ isSent: false }) }]);
      expectUntouched(asked);
    }
    await narrow.close();
  });
});
