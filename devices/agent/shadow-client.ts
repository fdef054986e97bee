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

export interface ShadowClientOptions {
  readonly device: string;
  /** How long after an answer that is none, because of too many requests say, the shadow is asked for again. */
  readonly askAgainMs: number;
}

const noShadow = 404;
const tooMany = 429;
const failed = 500;

export const shadowFilters = (device: string): readonly string[] => [
  `dt/${device}/shadow/delta`,
  `dt/${device}/shadow/get/+`,
  `dt/${device}/shadow/update/accepted`,
  `dt/${device}/shadow/update/rejected`,
];

type ShadowTopic = Extract<Topic, { kind: 'shadow_answer' | 'shadow_delta' }>;

export class ShadowClient {
  readonly #deps: ShadowClientDeps;
  readonly #options: ShadowClientOptions;
  #askingAgain: NodeJS.Timeout | undefined;
  /** What the gateway has as reported; null until it said so in this connection. */
  #known: JsonObject | null = null;

  constructor(deps: ShadowClientDeps, options: ShadowClientOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  connected(): void {
    clearTimeout(this.#askingAgain);
    this.#known = null;
    this.#say('get', {});
  }

  disconnected(): void {
    clearTimeout(this.#askingAgain);
    this.#known = null;
  }

  async receive(topic: ShadowTopic, payload: Uint8Array): Promise<void> {
    const parsed = parseJson(payload, { ...shadowRequestLimits, maxBytes: 131_072 });
    const body = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
    if (topic.kind === 'shadow_delta') {
      // It goes out on two topics; one is enough.
      if (topic.form === 'short') await this.#merge(body);
    } else if (topic.operation === 'get') {
      if (topic.outcome === 'accepted') await this.#replace(body);
      else if (body.code === noShadow) await this.#replace({});
      else this.#askAgainLater(body);
    } else if (topic.operation === 'update' && topic.outcome === 'rejected') {
      this.#deps.log.warn({ answer: body }, 'the shadow refuses what is reported');
      // What is wrong with the report would be again; what was not taken for now is reported once more.
      if (body.code === tooMany || body.code === failed) this.#askAgainLater(body);
    }
  }

  /** Nobody knows what the gateway has: settings stay as they are, and nothing is reported until it has said so. */
  #askAgainLater(answer: JsonObject): void {
    const { log } = this.#deps;
    log.info({ answer }, 'the shadow is asked for again');
    this.#known = null;
    clearTimeout(this.#askingAgain);
    const again = (): void => this.#say('get', {});
    this.#askingAgain = setTimeout(again, this.#options.askAgainMs).unref();
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
    const topic = buildTopic({ kind: 'shadow_request', operation, device: this.#options.device });
    this.#deps.session.publish(topic, body).catch((error: unknown) => {
      // The next connection asks and reports again.
      this.#known = null;
      this.#deps.log.info({ operation, error: messageOf(error) }, 'the shadow waits');
    });
  }
}

const numberOf = (value: JsonValue | undefined): number => (typeof value === 'number' ? value : 0);
