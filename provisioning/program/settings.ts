/**
 * Settings: the valibot schema of a program's configuration, made so that type, range, unit, default and description of each setting
 * can be read back from it, for the reference page, the flags and the environment.
 */
import * as v from 'valibot';

/** What is known of one setting besides its path. */
export interface SettingInfo {
  readonly type: string;
  readonly description: string;
  /** What is shown as the default. */
  readonly default: unknown;
  readonly unit?: string;
  readonly range?: string;
  /** Reads the text of a flag or a variable; what it cannot read it gives back for the schema to refuse. */
  readonly read: (text: string) => unknown;
}

export interface Described<T> {
  readonly default: T;
  readonly description: string;
}

export interface IntegerOptions extends Described<number> {
  readonly min?: number;
  readonly max?: number;
  /** `ms`, `bytes`, …; the setting's name ends with it too. */
  readonly unit?: string;
}

/** A schema of sections made by `configuration`. */
export type ConfigurationSchema = v.GenericSchema<unknown, object>;

/** One setting of a schema. */
export interface Setting extends SettingInfo {
  /** As in the file: `['link', 'keepaliveMs']`. */
  readonly path: readonly string[];
}

export interface SectionInfo {
  readonly path: readonly string[];
  readonly description: string;
}

const setting = <I, T, D extends I>(
  schema: v.GenericSchema<I, T>,
  info: SettingInfo,
  fallback: D,
) => v.optional(v.pipe(schema, v.metadata({ setting: info })), fallback);

const readInteger = (text: string): unknown => (/^-?\d+$/.test(text) ? Number(text) : text);

const readJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

/** A whole number. */
export const integer = ({
  min = 0,
  max = Number.MAX_SAFE_INTEGER,
  unit,
  ...described
}: IntegerOptions) => {
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `${min} to ${max}`;
  const whole = `must be a whole number ${range}`;
  return setting(
    v.pipe(v.number(whole), v.safeInteger(whole), v.minValue(min, whole), v.maxValue(max, whole)),
    { type: 'integer', range, ...(unit && { unit }), ...described, read: readInteger },
    described.default,
  );
};

/** A TCP port; 0 picks a free one. */
export const port = (described: Described<number>) =>
  integer({ min: 0, max: 65_535, ...described });

export interface TextOptions extends Described<string> {
  /** What is wrong with it; undefined where nothing is. */
  readonly check?: (value: string) => string | undefined;
}

export const text = ({ check = () => undefined, ...described }: TextOptions) =>
  setting(
    v.pipe(
      v.string('must be text'),
      v.maxLength(4096, 'must be at most 4096 characters'),
      v.check(
        (value) => check(value) === undefined,
        ({ input }) => check(String(input)) ?? '',
      ),
    ),
    { type: 'text', ...described, read: (value) => value },
    described.default,
  );

/** Text that may be missing. */
export const optionalText = ({ description }: { readonly description: string }) =>
  v.optional(
    v.pipe(
      v.string('must be text'),
      v.metadata({
        setting: {
          type: 'text',
          description,
          default: undefined,
          read: (value) => value,
        } satisfies SettingInfo,
      }),
    ),
  );

export const flag = (described: Described<boolean>) =>
  setting(
    v.boolean('must be true or false'),
    {
      type: 'true or false',
      ...described,
      read: (value) => (value === 'true' ? true : value === 'false' ? false : value),
    },
    described.default,
  );

export const choice = <const T extends string>(
  options: readonly T[],
  described: Described<NoInfer<T>>,
) =>
  setting(
    v.picklist(options, `must be one of ${options.join(', ')}`),
    { type: options.join(' | '), ...described, read: (value) => value },
    described.default,
  );

/** Texts; in a flag or a variable they stand between commas. */
export const texts = (described: Described<string[]>) =>
  setting(
    v.array(v.string('must be text'), 'must be a list of texts'),
    {
      type: 'list of texts',
      ...described,
      read: (value) =>
        value
          .split(',')
          .map((item) => item.trim())
          .filter((item) => item !== ''),
    },
    described.default,
  );

/** Things with fields of their own, each as `item` reads it; in a flag or a variable they stand as a JSON array. */
export const list = <T extends object>(
  item: v.GenericSchema<unknown, T>,
  { description }: { readonly description: string },
) =>
  setting(
    v.array(item, 'must be a list'),
    { type: 'list', description, default: [], read: readJson },
    [],
  );

/** Settings that belong together. */
export const section = <E extends v.ObjectEntries>(description: string, entries: E) =>
  v.optional(
    v.pipe(v.strictObject(entries), v.description(description)),
    // Every setting has a default or may be missing, so an empty section is a valid one.
    {} as never,
  );

/** The whole configuration of a program. */
export const configuration = <E extends v.ObjectEntries>(sections: E) => v.strictObject(sections);

/** Every section and setting of a schema, in its order. */
export const settingsOf = (
  schema: ConfigurationSchema,
): { readonly settings: readonly Setting[]; readonly sections: readonly SectionInfo[] } => {
  const settings: Setting[] = [];
  const sections: SectionInfo[] = [];
  const walk = (node: unknown, path: readonly string[]): void => {
    const inner = unwrap(node);
    const { setting } = v.getMetadata(inner) as { setting?: SettingInfo };
    if (setting !== undefined) {
      settings.push({ ...setting, path });
      return;
    }
    if (path.length > 0) sections.push({ path, description: v.getDescription(inner) ?? '' });
    for (const [key, entry] of Object.entries(inner.entries ?? {})) walk(entry, [...path, key]);
  };
  walk(schema, []);
  return { settings, sections };
};

/** The names that may stand in one place of the file; empty where there are none. */
export const keysAt = (
  schema: ConfigurationSchema,
  path: readonly (string | number)[],
): readonly string[] => {
  let node: Node | undefined = unwrap(schema);
  for (const key of path) {
    const inner: unknown = typeof key === 'number' ? node.item : node.entries?.[key];
    if (inner === undefined) return [];
    node = unwrap(inner);
  }
  return Object.keys(node.entries ?? {});
};

type Node = v.GenericSchema & {
  readonly wrapped?: unknown;
  readonly entries?: Record<string, unknown>;
  readonly item?: unknown;
};

/** Schemas are plain data to valibot; which of these fields are there depends on how they were made, above. */
const unwrap = (node: unknown): Node => {
  const schema = node as Node;
  return schema.type === 'optional' ? unwrap(schema.wrapped) : schema;
};
