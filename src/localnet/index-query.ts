import * as z from 'zod';

/** A parameter that the index refuses, with the answer it gives. */
export interface QueryProblem {
  readonly status: 400 | 422;
  readonly body: unknown;
}

const integer = z
  .string()
  .regex(/^-?\d+$/)
  .transform(Number);

export interface ListQuery {
  readonly page: number;
  readonly limit: number;
  readonly chainId: number | undefined;
  readonly tokenId: string | undefined;
  readonly ownerAddress: string | undefined;
  readonly search: string | undefined;
  readonly protocol: string | undefined;
  readonly isTestnet: boolean | undefined;
  readonly sortBy: string;
  readonly isAscending: boolean;
}

/** Reads the public API's camelCase parameters; unknown ones are ignored without a word, as the real index does. */
export function parseListQuery(url: URL): ListQuery | QueryProblem {
  const read = (name: string) => url.searchParams.get(name) ?? undefined;
  const page = integer.safeParse(read('page') ?? '1').data;
  if (page === undefined || page < 1) return outOfRange('page', read('page'), 'greater than or equal to 1');
  const limit = integer.safeParse(read('limit') ?? '20').data;
  if (limit === undefined || limit < 1) return outOfRange('limit', read('limit'), 'greater than or equal to 1');
  if (limit > 100) return outOfRange('limit', read('limit'), 'less than or equal to 100');
  const chainText = read('chainId');
  const chainId = chainText === undefined ? undefined : integer.safeParse(chainText).data;
  if (chainText !== undefined && chainId === undefined) return badParameter('chainId', chainText);
  return {
    page,
    limit,
    chainId,
    tokenId: read('tokenId'),
    ownerAddress: read('ownerAddress')?.toLowerCase(),
    search: read('search')?.toLowerCase(),
    protocol: read('protocol')?.toLowerCase(),
    isTestnet: read('isTestnet') === undefined ? undefined : read('isTestnet') === 'true',
    sortBy: read('sortBy') ?? 'created_at',
    isAscending: read('sortOrder') === 'asc',
  };
}

function badParameter(param: string, received: string): QueryProblem {
  const message = `Invalid ${param} parameter`;
  return {
    status: 400,
    body: { success: false, error: { code: 'BadRequest', message, details: { param, received } } },
  };
}

function outOfRange(name: string, input: string | undefined, rule: string): QueryProblem {
  const detail = { type: 'out_of_range', loc: ['query', name], msg: `Input should be ${rule}`, input: input ?? '' };
  return { status: 422, body: { detail: [detail] } };
}
