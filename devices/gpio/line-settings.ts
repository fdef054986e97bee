/** `gpio.lines` of a gateway and of an agent: what a line is, what it is for, and what its role needs. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import * as v from 'valibot';
import { biases, type LineAddress, nameOfLine } from './gpio-lines.js';

/** Roles that a gateway and an agent have alike. */
export const ioRoles = ['relay', 'input', 'counter', 'reset'] as const;
export type IoRole = (typeof ioRoles)[number];

const seconds = (most: number) => v.pipe(v.number(), v.minValue(0), v.maxValue(most));
const lineName = v.pipe(v.string(), v.minLength(1), v.maxLength(64));

/** `own`: the settings that a role of the program's own takes. */
export const lineSettings = <R extends string, E extends v.ObjectEntries>(
  roles: readonly R[],
  own: E,
) =>
  v.strictObject({
    /** What it is for: of a relay, an input and a counter, its name in the shadow and in telemetry. */
    name: lineName,
    /** As `gpiochip0`, or its label as `gpiodetect` says it. */
    chip: lineName,
    /** Its number on the chip, or its name as `gpioinfo` says it. */
    line: v.union(
      [v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1023)), lineName],
      'must be the number of a line, or its name',
    ),
    role: v.picklist(roles, `must be one of ${roles.join(', ')}`),
    /** Low is on. */
    activeLow: v.optional(v.boolean(), false),
    bias: v.optional(v.picklist(biases), 'as-is'),
    /** Of a relay: what it is at start, at the end, and without contact. */
    safe: v.exactOptional(v.union([v.picklist(['on', 'off']), v.boolean()], 'must be on or off')),
    /** Of a relay: how long contact may be lost until it goes to its safe state; 0: it stays as it is. */
    safeAfterS: v.exactOptional(seconds(86_400)),
    /** Of a relay: how long it stays on, and off, at least. */
    minOnS: v.exactOptional(seconds(3_600)),
    minOffS: v.exactOptional(seconds(3_600)),
    /** Of an input and a counter: what does not stay for so long is no change. */
    debounceMs: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(10_000))),
    /** Of a counter: how often its total is kept and told. */
    everyS: v.exactOptional(v.pipe(v.number(), v.minValue(1), v.maxValue(3_600))),
    /** Of a reset line: how long the board is kept in reset. */
    pulseMs: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000))),
    ...own,
  });

/** A line as it is configured. */
export interface ConfiguredLine extends LineAddress {
  readonly name: string;
  readonly role: string;
  readonly safe?: 'on' | 'off' | boolean;
  readonly safeAfterS?: number;
  readonly minOnS?: number;
  readonly minOffS?: number;
  readonly debounceMs?: number;
  readonly everyS?: number;
  readonly pulseMs?: number;
}

export interface NamedLine extends LineAddress {
  readonly name: string;
}

export interface RelayLine extends NamedLine {
  readonly role: 'relay';
  readonly safe: boolean;
  /** 0: never. */
  readonly safeAfterMs: number;
  readonly minOnMs: number;
  readonly minOffMs: number;
}

export interface SensedLine extends NamedLine {
  readonly role: 'input';
  readonly debounceMs: number;
}

export interface CounterLine extends NamedLine {
  readonly role: 'counter';
  readonly debounceMs: number;
  readonly everyMs: number;
}

/** A line that is seen in the shadow, or in telemetry. */
export type IoLine = RelayLine | SensedLine | CounterLine;

type RoleSetting =
  | 'safe'
  | 'safeAfterS'
  | 'minOnS'
  | 'minOffS'
  | 'debounceMs'
  | 'everyS'
  | 'pulseMs';

const settingsOf: Readonly<Record<RoleSetting, readonly string[]>> = {
  safe: ['relay'],
  safeAfterS: ['relay'],
  minOnS: ['relay'],
  minOffS: ['relay'],
  debounceMs: ['input', 'counter'],
  everyS: ['counter'],
  pulseMs: ['reset'],
};

/** What the report of lines that do not work stands under. */
export const problemsKey = 'problems';

/** Errors: CONFIGURATION_INVALID for lines that cannot stand together, or a setting that its role does not have. */
export const checkLines = (lines: readonly ConfiguredLine[]): void => {
  const refuse = (reason: string): never => {
    throw new HoldfastError('CONFIGURATION_INVALID', `gpio.lines: ${reason}`);
  };
  const addresses = new Set<string>();
  const names = new Set<string>();
  for (const line of lines) {
    const { name, role } = line;
    const address = nameOfLine(line);
    if (addresses.has(address)) refuse(`${address} is named twice`);
    addresses.add(address);
    if (names.has(name)) refuse(`two lines are called ${name}`);
    names.add(name);
    for (const [setting, roles] of Object.entries(settingsOf)) {
      const isSet = line[setting as RoleSetting] !== undefined;
      if (isSet && !roles.includes(role))
        refuse(`${name}: ${setting} is nothing for the role ${role}`);
    }
    if (role === 'relay' && line.safe === undefined) {
      refuse(`${name}: say what is safe for this relay: safe: off, or safe: on`);
    }
    if (ioRoles.some((one) => one === role) && (!isDeviceId(name) || name === problemsKey)) {
      refuse(`${name}: the name of a ${role} is 1 to 64 of [A-Za-z0-9_-], and not ${problemsKey}`);
    }
  }
};

/** Those lines that are seen in the shadow, or in telemetry, with everything that is not said. */
export const ioLinesOf = (lines: readonly ConfiguredLine[]): IoLine[] =>
  lines.flatMap((line): readonly IoLine[] => {
    const { name, chip, line: at, activeLow, bias, role } = line;
    const named = { name, chip, line: at, activeLow, bias };
    if (role === 'relay') return [{ ...named, role, ...relayOf(line) }];
    if (role === 'input') return [{ ...named, role, debounceMs: line.debounceMs ?? 20 }];
    if (role !== 'counter') return [];
    const everyMs = (line.everyS ?? 10) * 1_000;
    return [{ ...named, role, debounceMs: line.debounceMs ?? 0, everyMs }];
  });

const relayOf = ({ safe, safeAfterS = 60, minOnS = 1, minOffS = 1 }: ConfiguredLine) => ({
  safe: safe === true || safe === 'on',
  safeAfterMs: safeAfterS * 1_000,
  minOnMs: minOnS * 1_000,
  minOffMs: minOffS * 1_000,
});
