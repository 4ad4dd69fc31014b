/** What the bench of discovery and its servers agree on. */
export const CHAIN_ID = 84532;
export const REGISTRY = '0x8004a818bfb912233c491871b3d84c89a494bd9e';

/** A market: how many workers it has, how slowly each answers, how many of a hundred hang or send rubbish. */
export interface Scene {
  readonly count: number;
  readonly delayMs: number;
  readonly hangPercent: number;
  readonly garbagePercent: number;
}

/** The scene as a part of a path. */
export function formatScene({ count, delayMs, hangPercent, garbagePercent }: Scene): string {
  return [count, delayMs, hangPercent, garbagePercent].join('-');
}

export function readScene(text: string): Scene {
  const [count = 0, delayMs = 0, hangPercent = 0, garbagePercent = 0] = text.split('-').map(Number);
  return { count, delayMs, hangPercent, garbagePercent };
}

/** Spread over the list, so that every page has its share. */
export function kindOf(scene: Scene, worker: number): 'hangs' | 'garbage' | 'sound' {
  const place = worker % 100;
  if (place < scene.hangPercent) return 'hangs';
  return place < scene.hangPercent + scene.garbagePercent ? 'garbage' : 'sound';
}

/** A loopback address of its own for every worker. */
export function hostOf(worker: number): string {
  return `127.1.${Math.floor(worker / 250)}.${(worker % 250) + 1}`;
}
