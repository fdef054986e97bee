/**
 * JSON with one form for one value (RFC 8785, "JCS"), so that two programs get the same bytes to hash and to sign. Keys are sorted by
 * UTF-16 code units, numbers and strings are written as ECMAScript does, members that are undefined are left out.
 */
import { createHash } from 'node:crypto';
import { HoldfastError } from '../errors/holdfast-error.js';

/** Deeper than this nothing of ours is; it bounds the recursion for input from outside. */
const deepest = 200;

/** Errors: REQUEST_INVALID for what JSON cannot hold (a cycle, NaN, a lone surrogate, a bigint). */
export const canonicalJson = (value: unknown): string =>
  isInOrder(value, 0) ? JSON.stringify(value) : write(value, 0);

/** SHA-256 of the canonical form in UTF-8, in hexadecimal. */
export const canonicalSha256 = (value: unknown): string =>
  createHash('sha256').update(canonicalJson(value)).digest('hex');

/**
 * Whether it is plain JSON whose keys stand in canonical order already, as what our own programs make mostly does: then ECMAScript's
 * own writer gives the canonical form, several times as fast. Whatever is in doubt is not.
 */
const isInOrder = (value: unknown, depth: number): boolean => {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed();
    case 'boolean':
      return true;
    case 'number':
      return Number.isFinite(value);
    case 'object':
      if (value === null) return true;
      if (depth > deepest) return false;
      return Array.isArray(value)
        ? value.every((item) => isInOrder(item, depth + 1))
        : isObjectInOrder(value, depth);
    default:
      return false;
  }
};

const isObjectInOrder = (value: object, depth: number): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  let before = '';
  for (const key of Object.keys(value)) {
    if (key < before || !key.isWellFormed() || key === 'toJSON') return false;
    before = key;
    if (!isInOrder((value as Record<string, unknown>)[key], depth + 1)) return false;
  }
  return true;
};

const refuse = (what: string): never => {
  throw new HoldfastError('REQUEST_INVALID', `${what} has no canonical JSON`);
};

const write = (value: unknown, depth: number): string => {
  if (depth > deepest) return refuse(`a value nested deeper than ${deepest} levels`);
  switch (typeof value) {
    case 'string':
      return value.isWellFormed()
        ? JSON.stringify(value)
        : refuse('a string with a lone surrogate');
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
  let members = '';
  // The default order is that of UTF-16 code units.
  for (const key of Object.keys(value).sort()) {
    const member = (value as Record<string, unknown>)[key];
    if (member === undefined) continue;
    members += `${members === '' ? '' : ','}${write(key, depth + 1)}:${write(member, depth + 1)}`;
  }
  return `{${members}}`;
};
