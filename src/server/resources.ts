import { isSha256 } from '../base/hash.ts';
import type { Coordinator } from '../coordinator.ts';

const JSON_TYPE = 'application/json';

/** Resources with an address of their own. */
export function listResources() {
  return [
    { uri: 'autoresearch://leaderboard', name: 'leaderboard', title: 'Ranking of results', mimeType: JSON_TYPE },
    { uri: 'autoresearch://budget', name: 'budget', title: 'Wallet, caps and spending', mimeType: JSON_TYPE },
    {
      uri: 'autoresearch://chart/all.svg',
      name: 'chart',
      title: 'Chart of all experiments',
      mimeType: 'image/svg+xml',
    },
  ];
}

/** Resources that are named by an id. */
export const RESOURCE_TEMPLATES = [
  { uriTemplate: 'autoresearch://experiments/{id}', name: 'experiment', title: 'One experiment', mimeType: JSON_TYPE },
  {
    uriTemplate: 'autoresearch://sources/{sha256}',
    name: 'source',
    title: 'Source of a variant',
    mimeType: 'text/x-python',
  },
  {
    uriTemplate: 'autoresearch://think/{loop_id}',
    name: 'think',
    title: 'What the next experiments should know',
    mimeType: 'text/markdown',
  },
  {
    uriTemplate: 'autoresearch://chart/{loop_id}.svg',
    name: 'loop-chart',
    title: 'Chart of a loop',
    mimeType: 'image/svg+xml',
  },
] as const;

const ADDRESS = /^autoresearch:\/\/(leaderboard|budget|experiments|sources|think|chart)(?:\/([\w:.-]{1,120}))?$/;
const LEADERBOARD_ROWS = 50;

/** Reads a resource. @returns undefined for an address that names none */
export async function readResource(
  coordinator: Coordinator,
  uri: string,
): Promise<{ mimeType: string; text: string } | undefined> {
  const [, kind, id] = ADDRESS.exec(uri) ?? [];
  if (kind === 'leaderboard')
    return json(
      await coordinator.leaderboard({ scope: 'variants', limit: LEADERBOARD_ROWS, response_format: 'detailed' }),
    );
  if (kind === 'budget') return json(await coordinator.status());
  if (id === undefined) return undefined;
  switch (kind) {
    case 'experiments':
      return json(await coordinator.getExperiment(id, 0, {}));
    case 'think':
      return { mimeType: 'text/markdown', text: await coordinator.think(id, null, null) };
    case 'sources': {
      const trainHash = id.startsWith('sha256:') ? id : `sha256:${id}`;
      const source = isSha256(trainHash) ? await coordinator.source(trainHash) : undefined;
      return source === undefined ? undefined : { mimeType: 'text/x-python', text: source };
    }
    case 'chart': {
      const loopId = id.endsWith('.svg') ? id.slice(0, -'.svg'.length) : undefined;
      if (loopId === undefined) return undefined;
      return { mimeType: 'image/svg+xml', text: await coordinator.chart(loopId === 'all' ? null : loopId) };
    }
    default:
      return undefined;
  }
}

function json(value: unknown): { mimeType: string; text: string } {
  return { mimeType: JSON_TYPE, text: JSON.stringify(value, null, 2) };
}
