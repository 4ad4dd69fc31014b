import { afterEach, describe, expect, it, vi } from 'vitest';
import { renderChart } from './chart.ts';
import { type Dot, placeLabels } from './chart-labels.ts';
import type { TrendPoint } from './standings.ts';

const TITLE = { title: 'Experiments of loop_1' };

function point(valBpb: number, verdict: string, description: string, role = 'round'): TrendPoint {
  const standing = { hasBeenChampion: false, isRefuted: false };
  return { experimentId: `exp_${description}`, valBpb, verdict, role, ...standing, description };
}

/** A loop of `count` runs, every fifth kept, falling slowly. */
function makeLoop(count: number): TrendPoint[] {
  return Array.from({ length: count }, (_, index) => {
    if (index === 0) return point(1.7, 'BASELINE', 'baseline');
    const score = 1.7 - 0.001 * Math.floor(index / 5);
    return index % 5 === 0
      ? point(score, 'KEEP', `KNOB_${index} ${index} → ${index + 1}`)
      : point(score + 0.0005 * (index % 7), 'DISCARD', `discarded ${index}`);
  });
}

/** The elements' names in order of opening; throws where tags do not match or a character or entity is not XML. */
function parseXml(xml: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that XML forbids
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/u.test(xml))
    throw new Error('forbidden character');
  const names: string[] = [];
  const open: string[] = [];
  const rest = xml.replace(
    /<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/gi,
    (_all, end, name, _attributes, empty) => {
      if (end === '/' && open.pop() !== name) throw new Error(`unexpected </${name}>`);
      if (end === '') names.push(name);
      if (end === '' && empty === '') open.push(name);
      return '';
    },
  );
  if (open.length > 0 || names[0] !== 'svg') throw new Error(`not closed: ${open.join(' ')}`);
  if (/[<>]/.test(rest)) throw new Error('stray angle bracket');
  if (/&(?!(amp|lt|gt|quot|apos|#\d+|#x[\da-f]+);)/i.test(xml)) throw new Error('stray ampersand');
  return names;
}

function textsOf(svg: string): string[] {
  return [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((match) => match[1] ?? '');
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('renderChart', () => {
  it.each([0, 1, 2, 3, 12, 60, 300])('gives a stand-alone, well-formed picture of %i runs', async (count) => {
    const svg = await renderChart(makeLoop(count), TITLE);
    const names = parseXml(svg);
    expect(names).not.toContain('script');
    expect(names).not.toContain('image');
    expect(svg).toMatch(/^<svg [^>]*width="900" height="480"/);
    expect(svg.replace(/ xmlns(:\w+)?="[^"]*"/g, '')).not.toMatch(/http|href|url\(|NaN|undefined|Infinity/);
    expect(textsOf(svg)).toContain('Experiments of loop_1');
  });

  it('gives the same text for the same runs', async () => {
    const first = await renderChart(makeLoop(40), TITLE);
    await renderChart(makeLoop(7), { title: 'another in between' });
    expect(await renderChart(makeLoop(40), TITLE)).toBe(first);
  });

  it('says how many runs there are, how many were kept and what was gained', async () => {
    const loop = [point(1.7191, 'BASELINE', 'baseline'), point(1.8, 'RETEST', 'r'), point(1.6323, 'KEEP-SIMPLER', 's')];
    expect(textsOf(await renderChart(loop, TITLE))).toContain('3 experiments, 1 kept, 1.7191 → 1.6323');
    expect(textsOf(await renderChart(loop.slice(0, 1), TITLE))).toContain('1 experiment, 0 kept, 1.7191');
    expect(textsOf(await renderChart(loop.slice(1, 2), TITLE))).toContain('1 experiment, 0 kept');
  });

  it.each(['confirmation', 'retest', 'audit', 'canary'])(
    'counts a %s apart, whatever its verdict, and lets it neither repeat a label nor move the line',
    async (role) => {
      const ideas = [point(1.7191, 'BASELINE', 'baseline', 'baseline'), point(1.6323, 'KEEP', 'the idea')];
      const one = textsOf(await renderChart([...ideas, point(1.6, 'KEEP', 'the idea', role)], TITLE));
      expect(one).toContain('2 experiments, 1 kept, 1 extra run, 1.7191 → 1.6323');
      expect(one.filter((text) => text === 'the idea')).toHaveLength(
        textsOf(await renderChart(ideas, TITLE)).filter((text) => text === 'the idea').length,
      );
      expect(one).toContain('extra run');
      const two = [...ideas, point(1.63, 'KEEP-SIMPLER', 'x', role), point(1.64, 'DISCARD', 'y', role)];
      expect(textsOf(await renderChart(two, TITLE))).toContain('2 experiments, 1 kept, 2 extra runs, 1.7191 → 1.6323');
    },
  );

  it('counts what a caller submitted like a round, and the baseline as no idea', async () => {
    const loop = [point(1.7191, 'BASELINE', 'baseline', 'single'), point(1.6323, 'KEEP', 'k', 'single')];
    const texts = textsOf(await renderChart(loop, TITLE));
    expect(texts).toContain('2 experiments, 1 kept, 1.7191 → 1.6323');
    expect(texts).not.toContain('extra run');
  });

  it('counts an idea as kept that was too close to call at first and became champion', async () => {
    const late = { ...point(1.6323, 'RETEST', 'late'), hasBeenChampion: true };
    const texts = textsOf(await renderChart([point(1.7191, 'BASELINE', 'baseline', 'baseline'), late], TITLE));
    expect(texts).toContain('2 experiments, 1 kept, 1.7191 → 1.6323');
    expect(texts).toContain('late');
  });

  it('shows a gain below the fourth digit', async () => {
    const loop = [point(0.99781, 'BASELINE', 'baseline'), point(0.99779, 'KEEP', 'k')];
    expect(textsOf(await renderChart(loop, TITLE))).toContain('2 experiments, 1 kept, 0.997810 → 0.997790');
  });

  it('labels kept runs and no others', async () => {
    const texts = textsOf(await renderChart(makeLoop(12), TITLE));
    expect(texts).toEqual(expect.arrayContaining(['baseline', 'KNOB_5 5 → 6', 'KNOB_10 10 → 11']));
    expect(texts.some((text) => text.startsWith('discarded 1'))).toBe(false);
  });

  it('always labels the champion, however many runs were kept', async () => {
    const texts = textsOf(await renderChart(makeLoop(300), TITLE));
    expect(texts).toContain('KNOB_295 295 → 296');
  });

  it('says that there is no scored experiment yet', async () => {
    expect(textsOf(await renderChart([], TITLE))).toContain('No scored experiment yet');
  });

  it('escapes and cuts texts, and drops characters that XML forbids', async () => {
    const hostile = '<script>&"\'\u0000\u001b[31m\u202e\ufffe\ud800</script> '.repeat(20);
    const loop = [
      point(1.7, 'BASELINE', hostile),
      point(1.6, 'KEEP', 'a < b & c'),
      point(1.5, 'KEEP', '学習率'.repeat(30)),
    ];
    const svg = await renderChart(loop, { title: hostile });
    expect(parseXml(svg)).not.toContain('script');
    const texts = textsOf(svg);
    expect(texts).toContain('a &lt; b &amp; c');
    expect(texts.some((text) => /^(学習率)+.*…$/.test(text) && text.length <= 28)).toBe(true);
  });

  it('draws runs off the scale as counted triangles, those without a finite score too', async () => {
    const loop = [
      ...makeLoop(20),
      point(9.5, 'DISCARD', 'bad'),
      point(Number.NaN, 'DISCARD', 'worse'),
      point(0.51, 'RETEST', 'odd'),
    ];
    const svg = await renderChart(loop, TITLE);
    parseXml(svg);
    expect(textsOf(svg)).toContain('above the scale (2, up to 9.5000)');
    expect(textsOf(svg)).toContain('below the scale (1, down to 0.5100)');
    expect(svg).not.toContain('NaN');
  });

  it('draws runs of which none is finite or all are equal', async () => {
    parseXml(
      await renderChart([point(Number.NaN, 'KEEP', 'a'), point(Number.POSITIVE_INFINITY, 'DISCARD', 'b')], TITLE),
    );
    const equal = await renderChart(
      [point(0, 'BASELINE', 'a'), point(0, 'KEEP', 'b'), point(0, 'DISCARD', 'c')],
      TITLE,
    );
    parseXml(equal);
    expect(equal).not.toContain('NaN');
  });

  it('writes nothing to standard output or the console', async () => {
    const writes = [vi.spyOn(process.stdout, 'write'), vi.spyOn(process.stderr, 'write')];
    const calls = (['log', 'info', 'warn', 'error', 'debug'] as const).map((method) => vi.spyOn(console, method));
    await renderChart([], TITLE);
    await renderChart([...makeLoop(30), point(Number.NaN, 'KEEP', 'x')], TITLE);
    for (const spy of [...writes, ...calls]) expect(spy).not.toHaveBeenCalled();
  });
});

describe('placeLabels', () => {
  const plot = { width: 790, height: 330 };

  it.each([1, 3, 30, 300])('keeps the labels of %i kept runs apart and inside the picture', (count) => {
    const dots: Dot[] = Array.from({ length: count }, (_, index) => ({
      number: index + 1,
      valBpb: 2 - index / count,
      shouldLabel: true,
      text: `KNOB_${index} with a long text`,
      x: ((index + 0.5) / count) * plot.width,
      y: 20 + (index / count) * 260,
    }));
    const labels = placeLabels(dots, dots, plot);
    expect(labels.filter((label) => label.isChampion)).toHaveLength(1);
    for (const [index, { box }] of labels.entries()) {
      expect(box.left >= -10 && box.top >= 0 && box.right <= plot.width + 26 && box.bottom <= plot.height).toBe(true);
      for (const other of labels.slice(index + 1)) {
        const isApart =
          box.right <= other.box.left ||
          other.box.right <= box.left ||
          box.bottom <= other.box.top ||
          other.box.bottom <= box.top;
        expect(isApart).toBe(true);
      }
    }
  });
});
