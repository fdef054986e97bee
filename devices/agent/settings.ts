/**
 * Settings from the shadow: what is desired is kept, applied, then reported as it is.
 *
 * `desired.agent` is the agent's own; a value it cannot take stays unreported there and is explained under `reported.agent_refused`.
 * Everything else is the application's: handed to it as a file, and reported as applied once that is written.
 */
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isJsonObject, type JsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { Log } from './log.js';
import { mergeState } from './state-difference.js';

const agentFields = {
  /** Seconds between two health measurements. */
  health_interval_s: v.pipe(v.number(), v.minValue(0.05), v.maxValue(86_400)),
} as const;

export interface AgentSettings {
  readonly health_interval_s: number;
}

export const defaultAgentSettings: AgentSettings = { health_interval_s: 30 };

export interface SettingsDeps {
  readonly log: Log;
  /** Told whenever the agent's own settings change, and once at the start. */
  readonly apply: (settings: AgentSettings) => void;
  /**
   * Told what is desired of the lines of this machine whenever the gateway said so; then `gpio` is no setting of the application. Not told at
   * the start: what was desired once may not be any more.
   */
  readonly gpio?: (desired: JsonValue | undefined) => void;
}

interface Desired {
  readonly state: JsonObject;
  readonly version: number;
}

export interface Settings {
  /** What `reported` says of the settings. */
  readonly reported: JsonObject;
  /** The whole desired state, as an answer to `get` has it. */
  replace(state: JsonObject, version: number): Promise<void>;
  /** A delta; one older than what is known is skipped. Without a version it is a change made here. */
  merge(delta: JsonObject, version?: number): Promise<void>;
}

export const settingsFile = (dataDir: string): string => join(dataDir, 'app-settings.json');

export const openSettings = async (
  deps: SettingsDeps,
  options: { readonly dataDir: string; readonly defaults?: AgentSettings },
): Promise<Settings> => {
  const record = await openRecord<Desired>({
    path: join(options.dataDir, 'settings.json'),
    parse: (value) => v.parse(desiredSchema, value),
    initial: { state: {}, version: 0 },
    log: deps.log,
  });
  const defaults = options.defaults ?? defaultAgentSettings;
  const settings = new RecordedSettings(deps, record, options.dataDir, defaults);
  await settings.apply();
  return settings;
};

const desiredSchema = v.object({
  state: v.custom<JsonObject>((value) => isJsonObject(value as JsonValue)),
  version: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});

class RecordedSettings implements Settings {
  readonly #deps: SettingsDeps;
  readonly #record: StoredRecord<Desired>;
  readonly #dataDir: string;
  readonly #defaults: AgentSettings;
  #reported: JsonObject = {};

  constructor(
    deps: SettingsDeps,
    record: StoredRecord<Desired>,
    dataDir: string,
    defaults: AgentSettings,
  ) {
    this.#deps = deps;
    this.#record = record;
    this.#dataDir = dataDir;
    this.#defaults = defaults;
  }

  get reported(): JsonObject {
    return this.#reported;
  }

  async replace(state: JsonObject, version: number): Promise<void> {
    // Before it is on disk: a relay is switched off though nothing can be written.
    this.#deps.gpio?.(state.gpio);
    const known = this.#record.data;
    // The version too: that of a gateway whose database is new counts from the beginning.
    if (version !== known.version || JSON.stringify(state) !== JSON.stringify(known.state)) {
      await this.#record.update(() => ({ state, version }));
    }
    await this.apply();
  }

  async merge(delta: JsonObject, version = this.#record.data.version): Promise<void> {
    if (version < this.#record.data.version) return;
    this.#deps.gpio?.(mergeState(this.#record.data.state, delta).gpio);
    await this.#record.update(({ state }) => ({ state: mergeState(state, delta), version }));
    await this.apply();
  }

  async apply(): Promise<void> {
    const { agent, ...others } = this.#record.data.state;
    const { gpio: _, ...application } = others;
    const rest = this.#deps.gpio === undefined ? others : application;
    const { settings, refused } = readAgentSettings(agent, this.#defaults);
    await this.#writeForApplication(rest);
    this.#deps.apply(settings);
    this.#reported = {
      ...rest,
      agent: { ...settings },
      ...(Object.keys(refused).length > 0 && { agent_refused: refused }),
    };
  }

  async #writeForApplication(state: JsonObject): Promise<void> {
    const path = settingsFile(this.#dataDir);
    await writeFile(`${path}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}

const readAgentSettings = (
  desired: JsonValue | undefined,
  defaults: AgentSettings,
): { settings: AgentSettings; refused: Record<string, string> } => {
  const refused: Record<string, string> = {};
  let settings = defaults;
  for (const [name, value] of Object.entries(isJsonObject(desired) ? desired : {})) {
    if (name !== 'health_interval_s') {
      refused[name] = 'this agent has no such setting';
      continue;
    }
    const parsed = v.safeParse(agentFields[name], value);
    if (parsed.success) settings = { ...settings, [name]: parsed.output };
    else refused[name] = parsed.issues[0].message;
  }
  return { settings, refused };
};
