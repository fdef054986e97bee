/** What a schema says for people: the reference page in Markdown and the text of `--help`. */
import {
  builtInFlags,
  defaultDataDir,
  flagOf,
  type ProgramFlag,
  variableOf,
} from './configuration.js';
import { type ConfigurationSchema, type Setting, settingsOf } from './settings.js';

/** The reference page; each workspace commits its own and a test tells when it is stale. */
export const configurationReference = (schema: ConfigurationSchema, program: string): string => {
  const { settings, sections } = settingsOf(schema);
  const lines = [
    `# Configuration of ${program}`,
    '',
    '<!-- Generated from the configuration schema; change that instead. -->',
    '',
    'A flag counts before a variable of the environment, a variable before the file that `--config` names (YAML), the file before',
    `the default. Data lies in \`${defaultDataDir(program)}\` unless \`--data\` or \`HOLDFAST_DATA\` names another folder.`,
  ];
  for (const { path, description } of sections) {
    const own = settings.filter((s) => s.path.slice(0, -1).join('.') === path.join('.'));
    lines.push('', `## ${path.join('.')}`, '', description, '');
    lines.push('| Setting | Type | Default | Flag and variable | What it is for |');
    lines.push('|---|---|---|---|---|', ...own.map(rowOf));
  }
  return `${lines.join('\n')}\n`;
};

const rowOf = (setting: Setting): string =>
  [
    '',
    ` \`${setting.path.join('.')}\` `,
    ` ${[inCell(setting.type), setting.range, setting.unit].filter(Boolean).join(', ')} `,
    ` ${setting.default === undefined ? 'none' : `\`${JSON.stringify(setting.default)}\``} `,
    ` \`--${flagOf(setting)}\`<br>\`${variableOf(setting)}\` `,
    ` ${inCell(setting.description)} `,
    '',
  ].join('|');

const inCell = (text: string): string => text.replaceAll('|', '\\|');

export interface Usage {
  readonly program: string;
  readonly description: string;
  /** `enroll CODE` → what it does; without an entry the program takes no command. */
  readonly commands?: Readonly<Record<string, string>>;
  readonly flags?: Readonly<Record<string, ProgramFlag>>;
}

/** The text of `--help`. */
export const usageText = (
  schema: ConfigurationSchema,
  { program, description, commands = {}, flags = {} }: Usage,
): string => {
  const { settings } = settingsOf(schema);
  const named = Object.entries({ ...flags, ...builtInFlags });
  return [
    `${program}: ${description}`,
    '',
    `Usage: ${program} [command] [flags]`,
    ...table('Commands', Object.entries(commands)),
    ...table(
      'Flags',
      named.map(([name, flag]) => [
        `--${name}${flag.type === 'string' ? ' VALUE' : ''}`,
        flag.description,
      ]),
    ),
    ...table(
      'Settings (also in the file of --config and as HOLDFAST_… variables)',
      settings.map((s) => [
        `--${flagOf(s)} ${s.unit?.toUpperCase() ?? 'VALUE'}`,
        `${s.description}${s.default === undefined ? '' : ` (${JSON.stringify(s.default)})`}`,
      ]),
    ),
    '',
  ].join('\n');
};

const table = (title: string, rows: readonly (readonly [string, string])[]): string[] => {
  if (rows.length === 0) return [];
  const width = Math.max(...rows.map(([left]) => left.length));
  return ['', `${title}:`, ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)];
};
