/** What a client of hawkBit's Direct Device Integration says of itself: attributes, and which of them name what it is and runs. */
import * as v from 'valibot';
import { type JsonLimits, type Parsed, parsePayload } from '../mqtt/json-payload.js';

export interface DdiConfigData {
  readonly mode: 'merge' | 'replace' | 'remove';
  readonly data: Readonly<Record<string, string>>;
}

/** What attributes say of a device; absent is what none of them says. */
export interface DdiFacts {
  readonly model?: string;
  readonly hardware?: string;
  readonly version?: string;
  readonly serialNo?: string;
}

const limits: JsonLimits = { maxBytes: 16_384, maxDepth: 4 };
const mostAttributes = 100;
const longestName = 128;
const longestValue = 256;

const value = v.pipe(
  v.union([v.string(), v.number(), v.boolean(), v.null()]),
  v.transform((said) => (said === null ? '' : String(said))),
  v.maxLength(longestValue),
);

const configDataSchema = v.object({
  mode: v.nullish(v.picklist(['merge', 'replace', 'remove']), 'merge'),
  data: v.pipe(
    v.record(v.pipe(v.string(), v.minLength(1), v.maxLength(longestName)), value),
    v.check(
      (data) => Object.keys(data).length <= mostAttributes,
      `at most ${mostAttributes} attributes`,
    ),
  ),
});

export const parseDdiConfigData = (payload: Uint8Array): Parsed<DdiConfigData> => {
  const parsed = parsePayload(configDataSchema, payload, limits);
  if (!parsed.ok) return parsed;
  const { mode, data } = parsed.value;
  return { ok: true, value: { mode: mode ?? 'merge', data } };
};

const installedSchema = v.object({
  name: v.exactOptional(v.string()),
  version: v.pipe(v.string(), v.minLength(1), v.maxLength(longestValue)),
});

/** `PUT installedBase`: what it runs, however that came there. */
export const parseDdiInstalled = (payload: Uint8Array): Parsed<{ readonly version: string }> =>
  parsePayload(installedSchema, payload, limits);

/** The names under which devices in the field tell these; of several the first counts. */
const names = {
  model: ['model', 'device_model', 'board'],
  hardware: ['hardware_revision', 'hw_revision', 'hwRevision', 'hardwareRevision', 'revision'],
  version: ['firmware_version', 'firmwareVersion', 'sw_version', 'swVersion', 'version'],
  serialNo: ['serial_no', 'serial_number', 'serialnumber', 'serialNumber', 'serial'],
} as const satisfies Record<keyof DdiFacts, readonly string[]>;

export const ddiFactsOf = (data: DdiConfigData['data']): DdiFacts => {
  const facts: Partial<Record<keyof DdiFacts, string>> = {};
  // The keys of `names` are those of DdiFacts.
  for (const fact of Object.keys(names) as (keyof DdiFacts)[]) {
    const name = names[fact].find((one) => Object.hasOwn(data, one) && data[one] !== '');
    const said = name && data[name];
    if (said) facts[fact] = said;
  }
  return facts;
};
