/**
 * Loads a program's configuration: defaults, then the file, then the environment, then the flags. Whatever is wrong is told at once,
 * each with where it came from.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import {
  type ConfigurationFile,
  type FileText,
  invalid,
  isTree,
  parseConfigurationFile,
  readFileText,
  type Tree,
} from './configuration-file.js';
import { explainIssue } from './explain-issue.js';
import { nearestName } from './nearest-name.js';
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
  /** What is read where no file is named; by the folder of the data and the command. */
  readonly defaultFile?: (
    dataDir: string,
    command: string | undefined,
  ) => Promise<FileText | undefined>;
}

export interface Loaded<C> {
  readonly configuration: C;
  /** The file that was named with `--config` or HOLDFAST_CONFIG. */
  readonly configFile: string | undefined;
  /** Settings (`link.keepaliveMs`) that a flag or a variable has set, and which one. */
  readonly overrides: Readonly<Record<string, string>>;
  /** Of variables that look like settings and are none. */
  readonly warnings: readonly string[];
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

/** What a command line says beside the settings. Errors: CONFIGURATION_INVALID. */
export const readCommandLine = (
  schema: ConfigurationSchema,
  options: LoadOptions,
): Omit<Loaded<unknown>, 'configuration' | 'overrides' | 'warnings'> & {
  readonly values: CommandLine['values'];
} => {
  const { program, env } = options;
  const { values, positionals } = parseFlags(settingsOf(schema).settings, options);
  const logLevel = textOf(values['log-level']) ?? env.HOLDFAST_LOG_LEVEL ?? 'info';
  if (!logLevels.includes(logLevel)) {
    throw invalid([`log level: must be one of ${logLevels.join(', ')}, is "${logLevel}"`]);
  }
  return {
    values,
    positionals,
    logLevel,
    configFile: textOf(values.config) ?? env.HOLDFAST_CONFIG,
    dataDir: resolve(textOf(values.data) ?? env.HOLDFAST_DATA ?? defaultDataDir(program)),
    flags: Object.fromEntries(
      Object.entries(values).filter(([name]) => name in (options.flags ?? {})),
    ),
  };
};

/** Errors: CONFIGURATION_INVALID, whose message has a line for each thing that is wrong. */
export const loadConfiguration = async <S extends ConfigurationSchema>(
  schema: S,
  options: LoadOptions,
): Promise<Loaded<v.InferOutput<S>>> => {
  const { values, ...line } = readCommandLine(schema, options);
  const text =
    line.configFile === undefined
      ? await options.defaultFile?.(line.dataDir, line.positionals[0])
      : await readFileText(line.configFile);
  const file = text && parseConfigurationFile(text);
  const tree = file?.tree ?? {};
  const overrides = new Map<string, string>();
  for (const setting of settingsOf(schema).settings) {
    const flag = textOf(values[flagOf(setting)]);
    const given = flag ?? options.env[variableOf(setting)];
    if (given === undefined) continue;
    overrides.set(
      setting.path.join('.'),
      flag === undefined ? variableOf(setting) : `--${flagOf(setting)}`,
    );
    put(tree, setting.path, setting.read(given));
  }
  return {
    ...line,
    configuration: check(schema, tree, { file, overrides }),
    overrides: Object.fromEntries(overrides),
    warnings: explainVariables(schema, options.env),
  };
};

/** Variables with a meaning of their own, whoever reads them. */
const otherVariables = new Set([
  'HOLDFAST_CONFIG',
  'HOLDFAST_DATA',
  'HOLDFAST_DEVICE_ID',
  'HOLDFAST_LOG_LEVEL',
  'HOLDFAST_SETTINGS',
  'HOLDFAST_STOP_ON_STDIN_END',
]);

/** What is set and counts for nothing. No errors: programs of one machine may share an environment. */
const explainVariables = (schema: ConfigurationSchema, env: LoadOptions['env']): string[] => {
  const known = [...settingsOf(schema).settings.map(variableOf), ...otherVariables];
  return Object.keys(env)
    .filter((name) => name.startsWith('HOLDFAST_') && !known.includes(name))
    .flatMap((name) => {
      const near = nearestName(name, known);
      if (near !== undefined) return [`${name} counts for nothing: do you mean ${near}?`];
      // Without two underscores it is no setting of any program.
      if (!name.includes('__')) return [];
      return [`${name} counts for nothing here: see --help for the settings`];
    })
    .sort();
};

/** What one file makes of the settings, with nothing else said. Errors: CONFIGURATION_INVALID, a line for each thing. */
export const readConfiguration = <S extends ConfigurationSchema>(
  schema: S,
  text: FileText,
): v.InferOutput<S> => {
  const file = parseConfigurationFile(text);
  return check(schema, file.tree, { file, overrides: new Map() });
};

const check = <S extends ConfigurationSchema>(
  schema: S,
  tree: Tree,
  from: {
    readonly file: ConfigurationFile | undefined;
    readonly overrides: ReadonlyMap<string, string>;
  },
): v.InferOutput<S> => {
  const parsed = v.safeParse(schema, tree);
  if (parsed.success) return parsed.output;
  throw invalid(parsed.issues.flatMap((issue) => explainIssue(schema, issue, from)));
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
    throw invalid([explainFlag(messageOf(error), [...strings.map(([name]) => name)])], error);
  }
};

const explainFlag = (message: string, known: readonly string[]): string => {
  const written = /^Unknown option '--([^']+)'/.exec(message)?.[1];
  if (written === undefined) return message;
  const near = nearestName(written, known);
  return near === undefined
    ? `there is no flag "--${written}": see --help`
    : `there is no flag "--${written}": do you mean "--${near}"?`;
};

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

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;
