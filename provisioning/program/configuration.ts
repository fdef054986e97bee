/**
 * Loads a program's configuration: defaults, then the file, then the environment, then the flags. Whatever is wrong is told at once,
 * each with where it came from.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import { parse as parseYaml } from 'yaml';
import { type ConfigurationSchema, type Setting, settingsOf } from './settings.js';

export interface ProgramFlag {
  readonly type: 'string' | 'boolean';
  readonly description: string;
}

export interface LoadOptions {
  /** `holdfast-gateway`; its data lies in `./.holdfast/gateway` unless `--data` says otherwise. */
  readonly program: string;
  /** Without node and the script. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Flags of the program's own that are no settings, by their name. */
  readonly flags?: Readonly<Record<string, ProgramFlag>>;
}

export interface Loaded<C> {
  readonly configuration: C;
  /** Absolute. */
  readonly dataDir: string;
  /** What is left of the command line: a command and its arguments. */
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  readonly logLevel: string;
}

/** Flags that every program has. */
export const builtInFlags = {
  data: { type: 'string', description: 'Folder of its data' },
  config: { type: 'string', description: 'Configuration file (YAML)' },
  'log-level': { type: 'string', description: 'trace, debug, info, warn, error or fatal' },
  help: { type: 'boolean', description: 'Show this text' },
  version: { type: 'boolean', description: 'Show the version' },
} as const satisfies Record<string, ProgramFlag>;

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** Errors: CONFIGURATION_INVALID, whose message has a line for each thing that is wrong. */
export const loadConfiguration = async <S extends ConfigurationSchema>(
  schema: S,
  options: LoadOptions,
): Promise<Loaded<v.InferOutput<S>>> => {
  const { program, env } = options;
  const { settings } = settingsOf(schema);
  const { values, positionals } = parseFlags(settings, options);
  const logLevel = textOf(values['log-level']) ?? env.HOLDFAST_LOG_LEVEL ?? 'info';
  if (!logLevels.includes(logLevel)) {
    throw invalid([`log level: must be one of ${logLevels.join(', ')}, is "${logLevel}"`]);
  }
  const file = textOf(values.config) ?? env.HOLDFAST_CONFIG;
  const tree = file === undefined ? {} : await readTree(file);
  const sources = new Map<string, string>();
  for (const setting of settings) {
    const flag = textOf(values[flagOf(setting)]);
    const given = flag ?? env[variableOf(setting)];
    if (given === undefined) continue;
    sources.set(
      setting.path.join('.'),
      flag === undefined ? variableOf(setting) : `--${flagOf(setting)}`,
    );
    put(tree, setting.path, setting.read(given));
  }
  const parsed = v.safeParse(schema, tree);
  if (!parsed.success) throw invalid(parsed.issues.map((issue) => explain(issue, sources, file)));
  return {
    configuration: parsed.output,
    dataDir: resolve(textOf(values.data) ?? env.HOLDFAST_DATA ?? defaultDataDir(program)),
    positionals,
    flags: Object.fromEntries(
      Object.entries(values).filter(([name]) => name in (options.flags ?? {})),
    ),
    logLevel,
  };
};

/** `holdfast-gateway` → `./.holdfast/gateway`. */
export const defaultDataDir = (program: string): string =>
  `./.holdfast/${program.replace(/^holdfast-/, '')}`;

/** `link.keepaliveMs` → `link.keepalive-ms`. */
export const flagOf = ({ path }: Pick<Setting, 'path'>): string =>
  path.map((key) => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)).join('.');

/** `link.keepaliveMs` → `HOLDFAST_LINK__KEEPALIVE_MS`. */
export const variableOf = ({ path }: Pick<Setting, 'path'>): string =>
  `HOLDFAST_${path.map((key) => key.replace(/[A-Z]/g, '_$&').toUpperCase()).join('__')}`;

interface CommandLine {
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  readonly positionals: readonly string[];
}

const parseFlags = (settings: readonly Setting[], { argv, flags }: LoadOptions): CommandLine => {
  const strings = settings.map((setting) => [flagOf(setting), { type: 'string' }] as const);
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { ...Object.fromEntries(strings), ...builtInFlags, ...flags },
    });
  } catch (error) {
    throw invalid([messageOf(error)], error);
  }
};

type Tree = Record<string, unknown>;

const readTree = async (path: string): Promise<Tree> => {
  try {
    const tree: unknown = parseYaml(await readFile(path, 'utf8'), { maxAliasCount: 0 }) ?? {};
    if (isTree(tree)) return tree;
  } catch (error) {
    throw invalid([`${path}: ${messageOf(error)}`], error);
  }
  throw invalid([`${path}: must hold sections with settings`]);
};

const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Leaves a section of a wrong type as it is: the schema refuses it. */
const put = (tree: Tree, [key, ...rest]: readonly string[], value: unknown): void => {
  if (key === undefined) return;
  if (rest.length === 0) {
    tree[key] = value;
    return;
  }
  tree[key] ??= {};
  const next = tree[key];
  if (isTree(next)) put(next, rest, value);
};

const explain = (
  issue: v.BaseIssue<unknown>,
  sources: ReadonlyMap<string, string>,
  file: string | undefined,
): string => {
  const path = v.getDotPath(issue) ?? '';
  const source = sources.get(path) ?? file ?? 'the configuration';
  // A strict object says "never" of a key it does not know.
  if (issue.expected === 'never') return `${source}: there is no setting "${path}"`;
  return `${source}: ${path} ${issue.message}, is ${issue.received}`;
};

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;

const invalid = (lines: readonly string[], cause?: unknown) =>
  new HoldfastError('CONFIGURATION_INVALID', lines.join('\n'), { cause });
