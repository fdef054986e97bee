/** What is wrong with one setting, where it was given, and what to write instead. */
import type * as v from 'valibot';
import type { ConfigurationFile } from './configuration-file.js';
import { nearestName } from './nearest-name.js';
import { type ConfigurationSchema, keysAt } from './settings.js';

export interface IssueOrigin {
  readonly file: ConfigurationFile | undefined;
  /** Flag or variable by the setting it set. */
  readonly overrides: ReadonlyMap<string, string>;
}

export const explainIssue = (
  schema: ConfigurationSchema,
  issue: v.BaseIssue<unknown>,
  origin: IssueOrigin,
): string[] => {
  const path = (issue.path ?? []).map(({ key }) => key as string | number);
  // A strict object says "never" of the first key that it does not know, and nothing of the others.
  if (issue.expected !== 'never') return [explainAt(schema, issue, path, origin)];
  const known = keysAt(schema, path.slice(0, -1));
  const given = Object.keys((issue.path?.at(-1)?.input ?? {}) as object);
  return given
    .filter((key) => !known.includes(key))
    .map((key) => explainAt(schema, issue, [...path.slice(0, -1), key], origin));
};

const explainAt = (
  schema: ConfigurationSchema,
  issue: v.BaseIssue<unknown>,
  path: readonly (string | number)[],
  { file, overrides }: IssueOrigin,
): string => {
  const name = nameOf(path);
  const source =
    overrides.get(settingOf(path, overrides)) ??
    (file === undefined ? 'the configuration' : `${file.name}:${file.lineOf(path)}`);
  if (issue.expected === 'never')
    return `${source}: there is no setting "${name}"${hint(schema, path)}`;
  if (issue.received === 'undefined') return `${source}: ${name} is missing`;
  // What was given is a whole section: its rule says what is wrong, and its value nothing.
  if (issue.kind === 'validation' && typeof issue.input === 'object') {
    return `${source}: ${name}: ${issue.message}`;
  }
  return `${source}: ${name} ${sentence(issue.message)}, is ${issue.received}${meant(issue)}`;
};

/** Of a choice, the one that was nearly written. */
const meant = ({ type, expected, input }: v.BaseIssue<unknown>): string => {
  if (type !== 'picklist' || typeof input !== 'string') return '';
  const known = [...(expected ?? '').matchAll(/"([^"]*)"/g)].map(([, name = '']) => name);
  const near = nearestName(input, known);
  return near === undefined ? '' : `: do you mean "${near}"?`;
};

/** valibot's own words where a schema has none: "Invalid type: Expected string but received 5". */
const sentence = (message: string): string =>
  message
    .replace(/^Invalid [\w ]+: Expected (.+) but received .*$/s, 'must be $1')
    .replace(/^Expected /, 'must be ');

const hint = (schema: ConfigurationSchema, path: readonly (string | number)[]): string => {
  const known = keysAt(schema, path.slice(0, -1));
  if (known.length === 0) return '';
  const near = nearestName(String(path.at(-1)), known);
  const below =
    path.length === 1 ? 'the sections are' : `below ${nameOf(path.slice(0, -1))} there are`;
  return near === undefined ? `; ${below} ${known.join(', ')}` : `: do you mean "${near}"?`;
};

/** `serial.lines[0].path`. */
const nameOf = (path: readonly (string | number)[]): string =>
  path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`))
    .join('')
    .replace(/^\./, '');

/** A flag sets a list as a whole, so that an issue within it is the flag's too. */
const settingOf = (
  path: readonly (string | number)[],
  overrides: ReadonlyMap<string, string>,
): string => {
  for (let length = path.length; length > 0; length -= 1) {
    const prefix = path.slice(0, length).join('.');
    if (overrides.has(prefix)) return prefix;
  }
  return '';
};
