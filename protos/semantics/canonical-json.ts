/**
 * JSON with one form for one value (RFC 8785, "JCS"), so that two programs get the same bytes to hash and to sign. Keys are sorted by
 * UTF-16 code units, numbers and strings are written as ECMAScript does, members that are undefined are left out.
 */
import { createHash } from 'node:crypto';
import { HoldfastError } from '../errors/holdfast-error.js';

/** Deeper than this nothing of ours is; it bounds the recursion for input from outside. */
const deepest = 200;
/** With the `u` flag a pair is one code point, so this finds halves only. */
const loneSurrogate = /[\uD800-\uDFFF]/u;

/** Errors: REQUEST_INVALID for what JSON cannot hold (a cycle, NaN, a lone surrogate, a bigint). */
export const canonicalJson = (value: unknown): string => write(value, 0);

/** SHA-256 of the canonical form in UTF-8, in hexadecimal. */
export const canonicalSha256 = (value: unknown): string =>
  createHash('sha256').update(canonicalJson(value)).digest('hex');

const refuse = (what: string): never => {
  throw new HoldfastError('REQUEST_INVALID', `${what} has no canonical JSON`);
};

const write = (value: unknown, depth: number): string => {
  if (depth > deepest) return refuse(`a value nested deeper than ${deepest} levels`);
  switch (typeof value) {
    case 'string':
      return loneSurrogate.test(value)
        ? refuse('a string with a lone surrogate')
        : JSON.stringify(value);
    case 'boolean':
      return String(value);
    case 'number':
      return Number.isFinite(value) ? JSON.stringify(value) : refuse(String(value));
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join(',')}]`;
      return writeObject(value, depth);
    default:
      return refuse(`a ${typeof value}`);
  }
};

const writeObject = (value: object, depth: number): string => {
  const prototype: unknown = Object.getPrototypeOf(value);
  // A Date or a Buffer would come out as an object of its insides.
  if (prototype !== Object.prototype && prototype !== null) return refuse('an instance of a class');
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${write(key, depth + 1)}:${write(member, depth + 1)}`);
  return `{${members.join(',')}}`;
};
