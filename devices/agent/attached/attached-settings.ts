/**
 * The shadow of a device that is a microcontroller: what is desired goes down its line, and what is reported is what it said. Both are kept,
 * so that the microcontroller is served while the gateway is away, and the gateway's shadow is put right when it is back.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isJsonObject, type JsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { shadowRequestLimits } from '@holdfast/protos/mqtt/shadow-payload';
import type { Settings } from '../settings.js';
import { mergeState } from '../state-difference.js';
import type { AttachedRecord } from './attached-record.js';

export interface AttachedSettingsDeps {
  readonly record: AttachedRecord;
  /** What is desired has changed. */
  readonly changed: () => void;
}

export class AttachedSettings implements Settings {
  readonly #deps: AttachedSettingsDeps;

  constructor(deps: AttachedSettingsDeps) {
    this.#deps = deps;
  }

  get reported(): JsonObject {
    const { reported, desired } = this.#deps.record.data;
    const { agent } = desired;
    if (!isJsonObject(agent) || Object.keys(agent).length === 0) return reported;
    const why = 'this agent has no such setting: it stands in front of a microcontroller';
    const refused = Object.fromEntries(Object.keys(agent).map((name) => [name, why]));
    return { ...reported, agent_refused: refused };
  }

  /** The whole of what the microcontroller is to be; `agent` is none of its own. */
  get desired(): { readonly state: JsonObject; readonly version: number } {
    const { desired, version } = this.#deps.record.data;
    const { agent: _, ...state } = desired;
    return { state, version };
  }

  /** What is desired and not reported; undefined when it is as it should be. */
  get delta(): { readonly state: JsonObject | undefined; readonly version: number } {
    const { state, version } = this.desired;
    return { state: unmet(state, this.#deps.record.data.reported), version };
  }

  replace(state: JsonObject): Promise<void> {
    return this.#desire(() => state);
  }

  merge(delta: JsonObject): Promise<void> {
    return this.#desire((desired) => mergeState(desired, delta));
  }

  /** Resolves when it is on disk. REQUEST_TOO_LARGE for more than a shadow holds. */
  async take(changes: JsonObject): Promise<void> {
    const { record } = this.#deps;
    const reported = mergeState(record.data.reported, changes);
    if (Buffer.byteLength(JSON.stringify(reported)) > shadowRequestLimits.maxBytes) {
      throw new HoldfastError(
        'REQUEST_TOO_LARGE',
        'All that was reported is too much for a shadow',
      );
    }
    await record.update((known) => ({ ...known, reported: mergeState(known.reported, changes) }));
  }

  async #desire(change: (desired: JsonObject) => JsonObject): Promise<void> {
    const { record, changed } = this.#deps;
    const desired = change(record.data.desired);
    if (JSON.stringify(desired) === JSON.stringify(record.data.desired)) return;
    await record.update((known) => ({
      ...known,
      desired: change(known.desired),
      version: known.version + 1,
    }));
    changed();
  }
}

/** The leaves of `desired` that are not the same in `reported`. */
const unmet = (desired: JsonObject, reported: JsonObject): JsonObject | undefined => {
  const missing: Record<string, JsonValue> = {};
  for (const [key, wanted] of Object.entries(desired)) {
    const is = Object.hasOwn(reported, key) ? reported[key] : undefined;
    if (isJsonObject(wanted)) {
      const inner = unmet(wanted, isJsonObject(is) ? is : {});
      if (inner !== undefined) missing[key] = inner;
    } else if (JSON.stringify(is) !== JSON.stringify(wanted)) missing[key] = wanted;
  }
  return Object.keys(missing).length === 0 ? undefined : missing;
};
