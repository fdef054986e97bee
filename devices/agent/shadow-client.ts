/**
 * The device's side of its shadow: asks for it with every connection, applies what is desired, and reports the difference between what
 * the gateway has as reported and what is true here.
 */

import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import {
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseJson,
} from '@holdfast/protos/mqtt/json-payload';
import { shadowRequestLimits } from '@holdfast/protos/mqtt/shadow-payload';
import { buildTopic, type Topic } from '@holdfast/protos/mqtt/topics';
import type { Log } from './log.js';
import type { DeviceSession } from './session.js';
import type { Settings } from './settings.js';
import { mergeState, stateDifference } from './state-difference.js';

export interface ShadowClientDeps {
  readonly session: Pick<DeviceSession, 'publish'>;
  readonly settings: Settings;
  readonly log: Log;
  /** What this device reports besides its settings. */
  readonly facts: () => JsonObject;
}

export const shadowFilters = (device: string): readonly string[] => [
  `dt/${device}/shadow/delta`,
  `dt/${device}/shadow/get/+`,
  `dt/${device}/shadow/update/accepted`,
  `dt/${device}/shadow/update/rejected`,
];

type ShadowTopic = Extract<Topic, { kind: 'shadow_answer' | 'shadow_delta' }>;

export class ShadowClient {
  readonly #deps: ShadowClientDeps;
  readonly #device: string;
  /** What the gateway has as reported; null until it said so in this connection. */
  #known: JsonObject | null = null;

  constructor(deps: ShadowClientDeps, options: { readonly device: string }) {
    this.#deps = deps;
    this.#device = options.device;
  }

  connected(): void {
    this.#known = null;
    this.#say('get', {});
  }

  disconnected(): void {
    this.#known = null;
  }

  async receive(topic: ShadowTopic, payload: Uint8Array): Promise<void> {
    const parsed = parseJson(payload, { ...shadowRequestLimits, maxBytes: 131_072 });
    const body = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
    if (topic.kind === 'shadow_delta') {
      // It goes out on two topics; one is enough.
      if (topic.form === 'short') await this.#merge(body);
    } else if (topic.operation === 'get') {
      await this.#replace(topic.outcome === 'accepted' ? body : {});
    } else if (topic.operation === 'update' && topic.outcome === 'rejected') {
      this.#deps.log.warn({ answer: body }, 'the shadow refuses what is reported');
    }
  }

  /** Says what changed since the gateway last knew; nothing while that is not known. */
  report(): void {
    if (this.#known === null) return;
    const wanted = mergeState(this.#deps.settings.reported, this.#deps.facts());
    const changes = stateDifference(this.#known, wanted);
    if (changes === null) return;
    this.#known = wanted;
    this.#say('update', { state: { reported: changes } });
  }

  async #merge(body: JsonObject): Promise<void> {
    if (!isJsonObject(body.state)) return;
    await this.#deps.settings.merge(body.state, numberOf(body.version));
    this.report();
  }

  /** A shadow that is not there yet is an empty one. */
  async #replace(body: JsonObject): Promise<void> {
    const state = isJsonObject(body.state) ? body.state : {};
    const desired = isJsonObject(state.desired) ? state.desired : {};
    await this.#deps.settings.replace(desired, numberOf(body.version));
    this.#known = isJsonObject(state.reported) ? state.reported : {};
    this.report();
  }

  #say(operation: 'get' | 'update', body: JsonObject): void {
    const topic = buildTopic({ kind: 'shadow_request', operation, device: this.#device });
    this.#deps.session.publish(topic, body).catch((error: unknown) => {
      // The next connection asks and reports again.
      this.#known = null;
      this.#deps.log.info({ operation, error: messageOf(error) }, 'the shadow waits');
    });
  }
}

const numberOf = (value: JsonValue | undefined): number => (typeof value === 'number' ? value : 0);
