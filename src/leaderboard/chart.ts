import type { TopLevelSpec } from 'vega-lite';
import { buildFrame, type Frame, type Kind, locateRun, PLOT, type Run } from './chart-frame.ts';
import { estimateWidth, LABEL, type Label, placeLabels, shorten } from './chart-labels.ts';
import { summarise } from './chart-summary.ts';
import type { TrendPoint } from './standings.ts';

/** Pixels around the plot: title and legend, axis titles and tick labels. */
const PADDING = { left: 84, top: 96, right: 26, bottom: 54 };
/** Where title and legend begin, pixels from the plot's left edge. */
const LEFT_EDGE = -60;
const INK = { strong: '#111827', soft: '#6b7280', faint: '#eceef1', grey: '#aeb4be', green: '#16a34a' } as const;
/** Names without quotes: the list ends up in XML attributes. */
const FONT = 'system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, Noto Sans, sans-serif';

type LayerSpec = Extract<TopLevelSpec, { layer: unknown }>['layer'][number];

/**
 * Draws scores as a stand-alone SVG of 900 × 480 pixels: runs from left to right, val_bpb upwards (lower is better),
 * kept ideas green, they and the baseline labelled as far as there is room, the best of their scores as a step line.
 * Extra runs (confirmations, retests, audits) are dots of their own and counted apart: they are no ideas. Scores far from
 * the kept ones become triangles at the edge, counted in the legend. The same points give the same text.
 * @param points scores in the order of their runs; descriptions may be a stranger's
 * @param options luckLine: score that the best of so many runs would reach by luck alone, drawn where the scale has it
 * @throws Error when Vega cannot draw, which would be a defect of ours
 */
export async function renderChart(
  points: readonly TrendPoint[],
  options: { title: string; luckLine?: number | null },
): Promise<string> {
  // Vega is megabytes of code: only who asks for a chart loads it.
  const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]);
  const failures: string[] = [];
  // Its default logger is the console, which belongs to the MCP transport; and a failed drawing is logged, not thrown.
  const logger = vega.logger(vega.Error, 'error', (_method, _level, args) => failures.push(args.map(String).join(' ')));
  const { spec } = vegaLite.compile(buildSpec(points, options.title, options.luckLine ?? null), { logger });
  const view = new vega.View(vega.parse(spec), { logger, renderer: 'none' });
  try {
    const svg = await view.toSVG();
    if (failures.length > 0) throw new Error(`Vega could not draw the chart: ${failures.join('; ')}`);
    return svg;
  } finally {
    view.finalize();
  }
}

function buildSpec(points: readonly TrendPoint[], title: string, luckLine: number | null): TopLevelSpec {
  const frame = buildFrame(points);
  const runs = points.map((point, index) => locateRun(point, index + 1, frame));
  const leading = runs.filter((run) => run.shouldLabel);
  const champions = leading.filter((run, index) => leading.slice(0, index).every(({ valBpb }) => valBpb > run.valBpb));
  return {
    ...PLOT,
    padding: PADDING,
    autosize: 'none',
    background: 'white',
    config: CONFIG,
    layer: [
      textLayer(shorten(title, 90, 18, 840) ?? 'Experiments', {
        y: -68,
        fontSize: 18,
        fontWeight: 600,
        color: INK.strong,
      }),
      textLayer(summarise(runs, champions, luckLine), { y: -44, fontSize: 13, color: INK.soft }),
      ...(runs.length === 0
        ? [textLayer('No scored experiment yet', { x: 366, y: 130, align: 'center', fontSize: 20, color: INK.soft })]
        : [
            ...luckLayers(luckLine, frame),
            stepLayer(champions, frame),
            ...runLayers(runs),
            ...labelLayers(placeLabels(runs, champions, PLOT)),
          ]),
    ],
  };
}

interface LegendEntry {
  readonly kind: Kind;
  readonly label: string;
  readonly shape: string;
  readonly color: string;
}

/** One entry per kind of run that occurs; kept last, so that kept dots are drawn over the others. */
function buildLegend(runs: readonly Run[]): LegendEntry[] {
  const scores = (kind: Kind) => runs.filter((run) => run.kind === kind).map(({ valBpb }) => valBpb);
  const finite = runs.map(({ valBpb }) => valBpb).filter(Number.isFinite);
  const upTo = finite.length === 0 ? '' : `, up to ${Math.max(...finite).toFixed(4)}`;
  const downTo = finite.length === 0 ? '' : `, down to ${Math.min(...finite).toFixed(4)}`;
  const [above, below] = [scores('above').length, scores('below').length];
  const entries: LegendEntry[] = [
    { kind: 'below', label: `below the scale (${below}${downTo})`, shape: 'triangle-down', color: INK.soft },
    { kind: 'above', label: `above the scale (${above}${upTo})`, shape: 'triangle-up', color: INK.soft },
    { kind: 'extra', label: 'extra run', shape: 'diamond', color: INK.grey },
    { kind: 'other', label: 'not kept', shape: 'circle', color: INK.grey },
    { kind: 'baseline', label: 'baseline', shape: 'circle', color: INK.strong },
    { kind: 'kept', label: 'kept', shape: 'circle', color: INK.green },
  ];
  return entries.filter(({ kind }) => scores(kind).length > 0);
}

/** Dots on the step line or above it that stand out, as Vega tests it. */
const LEADS = "datum.kind === 'kept' || datum.kind === 'baseline'";

/** The runs, and the legend as dots among them. */
function runLayers(runs: readonly Run[]): LayerSpec[] {
  const legend = buildLegend(runs);
  const isCrowded = runs.length > 100;
  let left = LEFT_EDGE + 5;
  const keys = legend.toReversed().map(({ kind, label }) => {
    const x = left;
    left += estimateWidth(label, 12) + 36;
    return { kind, label, x, y: -22 };
  });
  const dots = legend.flatMap(({ kind }) => runs.filter((run) => run.kind === kind));
  const values = [...dots, ...keys].map(({ kind, x, y }) => ({ kind, x, y }));
  const domain = legend.map(({ kind }) => kind);
  const color = { domain, range: legend.map((entry) => entry.color) };
  const shape = { domain, range: legend.map((entry) => entry.shape) };
  return [
    {
      data: { values },
      mark: { type: 'point', filled: true },
      encoding: {
        ...PIXELS,
        color: { field: 'kind', type: 'nominal', scale: color, legend: null },
        shape: { field: 'kind', type: 'nominal', scale: shape, legend: null },
        size: {
          condition: [
            { test: LEADS, value: isCrowded ? 44 : 70 },
            // A diamond of the same size as a dot looks smaller.
            { test: "datum.kind === 'extra'", value: isCrowded ? 40 : 70 },
          ],
          value: isCrowded ? 26 : 44,
        },
        opacity: { condition: { test: LEADS, value: 1 }, value: 0.8 },
      },
    },
    ...keys.map(({ label, x, y }) => textLayer(label, { x: x + 10, y, fontSize: 12, color: INK.soft })),
  ];
}

/** What luck alone would give: a champion above this line is no news. */
function luckLayers(luckLine: number | null, { yDomain }: Frame): LayerSpec[] {
  const share = luckLine === null ? -1 : (yDomain[1] - luckLine) / (yDomain[1] - yDomain[0]);
  if (share < 0 || share > 1) return [];
  const y = share * PLOT.height;
  const rule = { type: 'rule', color: INK.soft, opacity: 0.7 } as const;
  return [
    {
      data: { values: [{ x: 0, x2: PLOT.width, y }] },
      mark: { ...rule, strokeDash: [5, 4] },
      encoding: { ...PIXELS, x2: { field: 'x2' } },
    },
    textLayer('luck', { x: PLOT.width - 24, y: y - 7, fontSize: 11, color: INK.soft }),
  ];
}

/** The score of the best run so far, with the axes of the whole picture. */
function stepLayer(champions: readonly Run[], { xDomain, yDomain }: Frame): LayerSpec {
  const corners = champions.map(({ number, valBpb }) => ({ number, valBpb }));
  const last = corners.at(-1);
  const values = last === undefined ? [] : [...corners, { number: xDomain[1], valBpb: last.valBpb }];
  return {
    data: { values },
    mark: { type: 'line', interpolate: 'step-after', color: INK.green, strokeWidth: 1.75, opacity: 0.7 },
    encoding: {
      x: {
        field: 'number',
        type: 'quantitative',
        scale: { domain: xDomain, nice: false, zero: false },
        axis: { title: 'run', grid: false, tickMinStep: 1, format: 'd', tickCount: 10 },
      },
      y: {
        field: 'valBpb',
        type: 'quantitative',
        scale: { domain: yDomain, nice: false, zero: false },
        axis: { title: 'val_bpb (lower is better)', titleX: -64, domain: false, ticks: false, tickCount: 6 },
      },
    },
  };
}

function labelLayers(labels: readonly Label[]): LayerSpec[] {
  const leaders = labels.flatMap(({ leader }) =>
    leader === null ? [] : [{ x: (leader.left + leader.right) / 2, y: leader.top, y2: leader.bottom }],
  );
  const fontWeight = { expr: 'datum.isChampion ? 600 : 400' };
  const texts = (['left', 'center', 'right'] as const).flatMap((align): LayerSpec[] => {
    const data = {
      values: labels
        .filter((label) => label.align === align)
        .map(({ text, x, y, isChampion }) => ({ text, x, y, isChampion })),
    };
    const mark = { type: 'text', align, baseline: 'middle', fontSize: LABEL.sizePx, fontWeight } as const;
    const encoding = { ...PIXELS, text: { field: 'text', type: 'nominal' } } as const;
    // A white seam under the text lifts it off dots and grid without hiding them.
    const seam = { stroke: 'white', strokeWidth: 3, strokeJoin: 'round', opacity: 0.85 } as const;
    return [
      { data, mark: { ...mark, ...seam }, encoding },
      { data, mark: { ...mark, color: INK.strong }, encoding },
    ];
  });
  const rule = { type: 'rule', color: INK.green, opacity: 0.55 } as const;
  return [{ data: { values: leaders }, mark: rule, encoding: { ...PIXELS, y2: { field: 'y2' } } }, ...texts];
}

/** Places that are pixels already. */
const PIXELS = {
  x: { field: 'x', type: 'quantitative', scale: null },
  y: { field: 'y', type: 'quantitative', scale: null },
} as const;

/** A line of text at a fixed place: Vega's own titles move with its rough guess of text widths. */
function textLayer(
  text: string,
  mark: { x?: number; y: number; align?: 'center'; fontSize: number; fontWeight?: 600; color: string },
): LayerSpec {
  return { data: { values: [{}] }, mark: { type: 'text', text, align: 'left', x: LEFT_EDGE, ...mark } };
}

const CONFIG: NonNullable<TopLevelSpec['config']> = {
  // One ARIA text per dot would repeat every description; the title says what the picture shows.
  aria: false,
  font: FONT,
  view: { stroke: null },
  axis: {
    labelColor: INK.soft,
    labelFontSize: 11,
    titleColor: INK.soft,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titlePadding: 10,
    gridColor: INK.faint,
    domainColor: '#c9ced6',
    tickColor: '#c9ced6',
    labelPadding: 6,
  },
};
