/**
 * Pages by key (`page_size`, `page_token`): a token holds the key of the last row that was given, so that a page is found by an
 * index however far on it is, and rows that come or go meanwhile shift nothing.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export type PageKey = readonly (string | number)[];

/** The type of the keys of which `K` is an example. */
export type Key<K extends PageKey> = {
  readonly [I in keyof K]: K[I] extends string ? string : number;
};

export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

export interface Page<K extends PageKey> {
  /** Rows of the page at most. Read one more, to learn whether there is another page. */
  readonly limit: number;
  /** The key after which the page begins; undefined for the first. */
  readonly after: K | undefined;
}

const defaultSize = 100;
const largestSize = 1_000;
const longestToken = 2_048;

/**
 * Reads what a request says of the page. `scope` names what is listed (with its filter), `shape` a key of it by example: a token
 * of another listing is refused. Errors: REQUEST_INVALID.
 */
export const readPage = <const K extends PageKey>(
  { pageSize, pageToken }: PageRequest,
  scope: string,
  shape: K,
): Page<Key<K>> => {
  if (pageSize < 0)
    throw new HoldfastError('REQUEST_INVALID', 'page_size is negative; leave it out');
  const limit = Math.min(pageSize === 0 ? defaultSize : pageSize, largestSize);
  if (pageToken === '') return { limit, after: undefined };
  const key = decode(pageToken, scope);
  if (key === undefined || !fits(key, shape)) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      'page_token is none of this listing; begin without one, and keep the parent while you page',
    );
  }
  return { limit, after: key };
};

/** Cuts the row that was read beyond the page, and names the next page; empty at the end. */
export const cutPage = <R>(
  rows: readonly R[],
  { limit }: { readonly limit: number },
  scope: string,
  keyOf: (row: R) => PageKey,
): { readonly rows: readonly R[]; readonly nextPageToken: string } => {
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  if (rows.length <= limit || last === undefined) return { rows: page, nextPageToken: '' };
  return { rows: page, nextPageToken: pageToken(scope, keyOf(last)) };
};

/** Names the page that begins after a key, for lists that cut their rows by themselves. */
export const pageToken = (scope: string, key: PageKey): string =>
  Buffer.from(JSON.stringify([scope, ...key])).toString('base64url');

const decode = (token: string, scope: string): unknown[] | undefined => {
  if (token.length > longestToken) return undefined;
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    return Array.isArray(parts) && parts[0] === scope ? parts.slice(1) : undefined;
  } catch {
    return undefined;
  }
};

const fits = <K extends PageKey>(key: readonly unknown[], shape: K): key is Key<K> =>
  key.length === shape.length && key.every((part, index) => typeof part === typeof shape[index]);
