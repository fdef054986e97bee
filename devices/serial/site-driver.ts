/**
 * A driver that a site brings itself: a module that exports `driver` (DRIVERS.md). It runs inside the gateway, with its rights, so its file
 * must be nobody else's to change.
 *
 * Errors: CONFIGURATION_INVALID, always with what is wrong with the file.
 */
import { realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import type { DriverLine, SerialDriver } from './serial-driver.js';

export interface SiteDriverOptions {
  /** What a relative name is relative to: the folder of the configuration. */
  readonly folder: string;
}

/** `./drivers/scale.js`, or the same from the root on. */
export const isDriverFile = (name: string): boolean => /^\.{0,2}\/.*\.m?js$/.test(name);

export const loadSiteDriver = async (
  name: string,
  { folder }: SiteDriverOptions,
): Promise<SerialDriver> => {
  const invalid = invalidOf(name);
  await seekSiteDriver(name, { folder });
  const path = await realpath(resolve(folder, name)).catch((error: unknown) => {
    throw invalid(`can't be read: ${messageOf(error)}`, error);
  });
  const weakness = await whoElseMayChange(path);
  if (weakness !== undefined) throw invalid(weakness);
  const { mtimeMs, size } = await stat(path);
  // A gateway that begins anew takes the file as it is then.
  const url = `${pathToFileURL(path).href}?${String(mtimeMs)}-${String(size)}`;
  const module: unknown = await import(url).catch((error: unknown) => {
    throw invalid(`can't be loaded: ${messageOf(error)}`, error);
  });
  const parsed = v.safeParse(moduleOf, module);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw invalid(`is none: ${v.getDotPath(issue) ?? 'driver'}: ${issue.message}`);
  }
  return checked(parsed.output.driver, invalid);
};

/** Looks whether its file is there, and no further: it may be another user's to read. */
export const seekSiteDriver = async (
  name: string,
  { folder }: SiteDriverOptions,
): Promise<void> => {
  const sought = resolve(folder, name);
  await stat(sought).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw invalidOf(name)(`is not there: put it at ${sought}`, error);
  });
};

const invalidOf =
  (name: string): Invalid =>
  (what, cause) =>
    new HoldfastError('CONFIGURATION_INVALID', `the driver ${name} ${what}`, { cause });

type Invalid = (what: string, cause?: unknown) => HoldfastError;

const isFunction = (value: unknown): value is (...given: unknown[]) => unknown =>
  typeof value === 'function';
const method = v.custom<(...given: unknown[]) => unknown>(isFunction, 'Expected a function');
/** By its mark: its library is another copy of ours. */
const schema = v.custom<v.GenericSchema>(
  (value) => typeof value === 'object' && value !== null && '~run' in value,
);

const moduleOf = v.looseObject({
  driver: v.looseObject({
    name: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
    options: v.optional(v.union([method, schema], 'Expected a function, or a schema of valibot')),
    attach: method,
  }),
});

const driverLine = v.looseObject({
  isOnline: v.boolean(),
  counts: v.looseObject({ droppedFrames: v.number(), discardedBytes: v.number() }),
  close: method,
  sendCommand: method,
  sendDelta: method,
  withdrawDelta: v.optional(method),
  sendJob: method,
  refuse: method,
});

/** What it gives is looked at once, so that a mistake is told at the start and not at the first command. */
const checked = (
  given: v.InferOutput<typeof moduleOf>['driver'],
  invalid: Invalid,
): SerialDriver => ({
  name: given.name,
  options: optionsOf(given.options),
  attach(line, devices, options) {
    let lines: unknown;
    try {
      lines = given.attach.call(given, line, devices, options);
    } catch (error) {
      throw invalid(`refuses the line ${line.name}: ${messageOf(error)}`, error);
    }
    if (!Array.isArray(lines) || lines.length !== devices.length) {
      throw invalid('must give one object for each device of a line');
    }
    for (const one of lines) {
      const result = v.safeParse(driverLine, one);
      if (result.success) continue;
      const [issue] = result.issues;
      throw invalid(
        `gives a device without ${v.getDotPath(issue) ?? 'its parts'}: ${issue.message}`,
      );
    }
    // Just looked at, part by part.
    return lines as DriverLine[];
  },
});

const optionsOf = (
  given: ((...given: unknown[]) => unknown) | v.GenericSchema | undefined,
): v.GenericSchema => {
  if (given === undefined) return v.undefined('takes no options');
  if (!isFunction(given)) return given;
  return v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        return given(dataset.value);
      } catch (error) {
        addIssue({ message: messageOf(error) });
        return NEVER;
      }
    }),
  );
};

/** Root's or our own, and writable by nobody else: neither the file, nor the folder that it could be replaced in. */
const whoElseMayChange = async (path: string): Promise<string | undefined> => {
  const ours = [0, process.getuid?.() ?? 0];
  for (const [what, at] of [
    ['', path],
    ["'s folder", dirname(path)],
  ] as const) {
    const { mode, uid, isFile } = await stat(at).then((found) => ({
      mode: found.mode,
      uid: found.uid,
      isFile: found.isFile(),
    }));
    if (what === '' && !isFile) return 'is no file';
    if (!ours.includes(uid)) return `${what} belongs to another user: sudo chown root ${at}`.trim();
    const isSticky = (mode & 0o1000) !== 0;
    if ((mode & 0o022) !== 0 && !(what !== '' && isSticky)) {
      return `${what} may be changed by others: chmod go-w ${at}`.trim();
    }
  }
  return undefined;
};
