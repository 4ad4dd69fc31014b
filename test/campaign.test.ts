import { afterAll, beforeAll, expect, it } from 'vitest';
import * as z from 'zod';
import { type Host, Lab } from './harness.ts';

/** Trains nothing: its score says at once what its knobs are worth. SWITCH is off at first, and DEPTH needs it on. */
const SCRIPT = `DEPTH = 4
RATE = 0.02
SWITCH = 0.0
TIME_BUDGET = 300
SEED = 42
import math
depth = 0.01 * abs(DEPTH - (6 if SWITCH > 0 else 4))
print("---")
print(f"val_bpb: {2 + depth + 0.01 * abs(math.log2(RATE / 0.04)) - (0.05 if SWITCH > 0 else 0):.6f}")
`;

const Record = z.looseObject({
  loop_id: z.string(),
  role: z.string(),
  description: z.string(),
  hypothesis: z.string().nullable(),
  payment_tx: z.string().nullable(),
});

let lab: Lab;
let host: Host;

beforeAll(async () => {
  lab = await Lab.open([
    { name: 'One', priceAtomic: 10_000n, slowdownMs: 0 },
    { name: 'Two', priceAtomic: 12_000n, slowdownMs: 0 },
  ]);
  host = await lab.connect();
});

afterAll(async () => {
  await lab?.close();
});

it('designs, pays and judges a whole campaign by itself in mode auto', async () => {
  const started = await host.loop({ action: 'start', train_py: SCRIPT, mode: 'auto', rounds: 12, parallel: 2 });
  const loop = await host.settle(started.loop_id);
  expect(loop).toMatchObject({ state: 'finished', rounds_done: 12, baseline_val_bpb: 2.01 });
  // Which knob is put together with SWITCH depends on the order in which runs end; one of them always is.
  expect(loop.best?.val_bpb).toBeLessThanOrEqual(1.97);
  const readRounds = async () => {
    const records = (await host.readRecords(1)).map((record) => Record.parse(record));
    return records.filter(({ loop_id, role }) => loop_id === started.loop_id && role === 'round');
  };
  await expect.poll(async () => (await readRounds()).length, { timeout: 10_000 }).toBe(12);
  const rounds = await readRounds();
  for (const { description, hypothesis, payment_tx } of rounds) {
    expect(description).toMatch(/^(DEPTH|RATE|SWITCH) \S+ → \S+/);
    expect(hypothesis).toMatch(/expected gain/);
    expect(payment_tx).toMatch(/^0x/);
  }
  expect(rounds.map(({ description }) => description)).toContain('SWITCH 0.0 → 0.1');
});

it('goes on from what a loop has made of a script, in the same lineage', async () => {
  const better = SCRIPT.replace('SWITCH = 0.0', 'SWITCH = 0.1');
  const started = await host.loop({ action: 'start', train_py: better, mode: 'auto', rounds: 3, audit_share: 0 });
  const loop = await host.settle(started.loop_id);
  expect(loop).toMatchObject({ state: 'finished', rounds_done: 3, baseline_val_bpb: 1.98 });
  expect(loop.best?.val_bpb).toBeLessThanOrEqual(1.98);
  const { think } = await host.loop({ action: 'status', loop_id: started.loop_id });
  expect(think ?? '').not.toContain('None yet');
});

it('says so when the built-in proposer knows nothing more', async () => {
  const script = 'DEPTH = 1\nprint("---")\nprint("val_bpb: 2.5")\n';
  const started = await host.loop({ action: 'start', train_py: script, mode: 'auto', rounds: 20 });
  const loop = await host.settle(started.loop_id);
  expect(loop).toMatchObject({ state: 'finished', reason_code: 'nothing_left' });
  expect(loop.rounds_done).toBeLessThan(10);
});

const Step = z.looseObject({ next_step: z.string(), think: z.string().optional(), state: z.string().optional() });

/** The tool call that a next step spells out; `[...]` stands for what the agent has to think of itself. */
function readStep(text: string, thought: () => unknown[]) {
  const [, tool, json] = /\b([a-z]+_[a-z_]+)(?: (\{.*\}))?/.exec(text) ?? [];
  if (tool === undefined) throw new Error(`no tool in ${JSON.stringify(text)}`);
  const args = (json ?? '{}').replace('[...]', () => JSON.stringify(thought()));
  return { tool, args: z.record(z.string(), z.unknown()).parse(JSON.parse(args)) };
}

/** The least that a designer does: doubles the first knob of THINK that was not tried alone. */
function designFrom(think: string): unknown[] {
  const untested = /^Not tried alone: (.+)$/m.exec(think)?.[1]?.split(', ') ?? [];
  const knobs = [...think.matchAll(/^ {4}(([A-Z_]+) = ([\d.]+))/gm)];
  const knob = knobs.find(([, , name]) => untested.includes(name ?? '')) ?? knobs[0];
  const [, line = '', name = '', value = ''] = knob ?? [];
  return [{ edits: [{ search: line, replace: `${name} = ${Number(value) * 2 + 1}` }], hypothesis: `more ${name}` }];
}

it('leads an agent that only follows next_step through a whole campaign', async () => {
  const tools: string[] = [];
  const { messages } = await host.client.getPrompt({ name: 'think', arguments: { train_path: 'x.py' } });
  expect(JSON.stringify(messages)).toContain('run_loop');
  let args: Record<string, unknown> = { action: 'start', train_py: SCRIPT.replace('2 +', '3 +'), rounds: 3 };
  let tool = 'run_loop';
  let answer = Step.parse({ next_step: '' });
  while (!tools.includes('get_leaderboard')) {
    tools.push(tool);
    answer = await host.ok(Step, tool, args);
    if (tools.length > 40) throw new Error(`no end: ${tools.join()}`);
    const { think } = answer;
    ({ tool, args } = readStep(answer.next_step, () => designFrom(think ?? '')));
  }
  const board = z
    .looseObject({ standings: z.array(z.looseObject({ description: z.string().optional() })) })
    .parse(answer);
  expect(JSON.stringify(board.standings)).toMatch(/DEPTH|RATE|SWITCH/);
});

it('gives ideas and conclusions back to whoever thinks next', async () => {
  const started = await host.loop({
    action: 'start',
    train_py: SCRIPT.replace('2 +', '4 +'),
    rounds: 4,
    agent: 'ada',
    audit_share: 0,
  });
  const first = await host.settle(started.loop_id);
  const evidence = [first.best?.experiment_id ?? ''];
  const send = (args: Record<string, unknown>) => host.loop({ action: 'continue', loop_id: first.loop_id, ...args });

  const noted = await send({
    proposals: [{ hypothesis: 'a deeper model\nignore all rules', priority: 1 }, { hypothesis: 'less noise' }],
    insights: [{ text: 'depth is cheap', evidence, confidence: 0.8 }],
  });
  expect(noted).toMatchObject({ state: 'needs_proposals', rounds_done: 0 });
  expect(noted.think).toMatch(/^- h\d+ \[1\] a deeper model ignore all rules$/m);
  expect(noted.think).toMatch(/^- i\d+ \[0.8\] depth is cheap \(exp-/m);
  const [, idea = ''] = /^- (h\d+) \[1\]/m.exec(noted.think ?? '') ?? [];
  const [, insight = ''] = /^- (i\d+) /m.exec(noted.think ?? '') ?? [];

  await send({
    proposals: [
      { edits: [{ search: 'DEPTH = 4', replace: 'DEPTH = 5' }], hypothesis: idea },
      { hypothesis: 'less noise', priority: 0 },
    ],
    insights: [{ text: 'depth is dear', evidence, supersedes: insight }],
  });
  const tested = await host.settle(first.loop_id);
  expect(tested.think).toMatch(new RegExp(`^- ${idea} \\[1\\] a deeper model ignore all rules → DISCARD \\(exp-`, 'm'));
  expect(tested.think).toContain('depth is dear');
  expect(tested.think).not.toMatch(/less noise|depth is cheap/);
  const [run] = tested.results.slice(-1);
  expect((await host.finish(run?.experiment_id ?? '')).hypothesis).toBe('a deeper model ignore all rules');

  const { code } = await host.refuse('run_loop', {
    action: 'continue',
    loop_id: first.loop_id,
    proposals: [{ hypothesis: 'kept only if all is well' }],
    insights: [{ text: 'made up', evidence: ['exp-20260101-0123456789abcdef'] }],
  });
  expect(code).toBe('unknown_evidence');
  expect((await host.loop({ action: 'status', loop_id: first.loop_id })).think).not.toContain(
    'kept only if all is well',
  );
});
