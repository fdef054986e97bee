import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { clientTokenIn } from '@holdfast/protos/mqtt/client-token';
import type { Parsed, Rejection } from '@holdfast/protos/mqtt/json-payload';
import {
  parseShadowPlain,
  parseShadowUpdate,
  type ShadowErrorCode,
  type ShadowRejected,
  type ShadowUpdateRequest,
} from '@holdfast/protos/mqtt/shadow-payload';
import type {
  ShadowDownTopic,
  ShadowOf,
  ShadowRequestTopic,
} from '@holdfast/protos/mqtt/shadow-topics';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { OutboundMessage } from '../../broker/broker.js';
import type { ShadowChange, ShadowView } from '../../shadows/shadow-change.js';
import type { ShadowListener } from '../../shadows/shadow-effects.js';
import type { Shadows } from '../../shadows/shadows.js';
import { finalReasonOf } from '../final-reason.js';
import { type ShadowTopicSet, shadowTopicSets } from './shadow-topic-set.js';

/**
 * Translates requests for shadows, on whatever set of topics they come, and tells of answers, deltas and documents: an answer on the set
 * that was asked on, what everybody may hear on every set, as far as there is anybody to hear it.
 */
export interface ShadowDoorDeps {
  readonly shadows: Pick<Shadows, 'get' | 'namesOf' | 'request'>;
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Whether anybody is subscribed to a topic, connected or not. */
  readonly isHeard: (topic: string) => boolean;
  /** Whether a device is there to get a delta: one that is away gets the last of them when it is back. */
  readonly isConnected: (device: string) => boolean;
  /** Whether another gateway owns the site: then what is desired here is nobody's to do. */
  readonly isFenced: () => boolean;
  readonly now: () => number;
}

/** A request, the set of topics it came on, and the connection it came over. */
export interface ShadowRequestMessage {
  readonly topic: ShadowRequestTopic;
  readonly set: ShadowTopicSet;
  readonly payload: Uint8Array;
  readonly sessionId: string;
}

export interface ShadowDoor extends ShadowListener {
  /** Resolves when what was asked is committed, or refused and told so: then the publish may be acknowledged. */
  handle(request: ShadowRequestMessage): Promise<void>;
  /** A device came: it gets what is desired of it and not so, once, whatever changed while it was away. */
  connected(device: string): Promise<void>;
}

interface Refusal {
  readonly code: ShadowErrorCode;
  readonly message: string;
}

/** Requests of one connection that are being worked on; AWS IoT has as many. */
const maxInFlight = 10;
const internal: Refusal = { code: 500, message: 'Internal service failure' };
const tooMany: Refusal = { code: 429, message: 'Too many requests' };

export const shadowDoor = ({
  shadows,
  publish,
  isHeard,
  isConnected,
  isFenced,
  now,
}: ShadowDoorDeps): ShadowDoor => {
  const inFlight = new Map<string, number>();

  /** Made once, and only when somebody hears it: documents are large. */
  const tell = async (topics: readonly string[], body: () => object): Promise<void> => {
    const heard = topics.filter(isHeard);
    if (heard.length === 0) return;
    const payload = Buffer.from(JSON.stringify(body()));
    for (const topic of heard) await publish({ topic, payload, qos: 1 });
  };

  const tellAll = (topic: ShadowDownTopic, body: () => object): Promise<void> =>
    tell(
      shadowTopicSets.map((set) => set.build(topic)),
      body,
    );

  const reject = (
    { topic, set }: ShadowRequestMessage,
    { code, message }: Refusal,
    clientToken: string | undefined,
  ): Promise<void> =>
    tell([set.build({ ...topic, kind: 'shadow_answer', outcome: 'rejected' })], () => {
      const timestamp = Math.floor(now() / 1_000);
      const rejected: ShadowRejected = { code, message, timestamp, ...tokenOf(clientToken) };
      return rejected;
    });

  const deltaTopics = (of: ShadowOf): string[] =>
    shadowTopicSets.flatMap((set) =>
      set.deltaForms.map((form) => set.build({ kind: 'shadow_delta', form, ...of })),
    );

  const sendDelta = async (
    told: ShadowView | ShadowChange,
    clientToken?: string,
  ): Promise<void> => {
    const { device, name, delta, version, timestamp } = told;
    if (delta === undefined || isFenced()) return;
    await tell(deltaTopics({ device, ...topicName(name) }), () => ({
      version,
      timestamp,
      ...delta,
      ...tokenOf(clientToken),
    }));
  };

  const get = async (request: ShadowRequestMessage): Promise<void> => {
    const { topic, set, payload } = request;
    const parsed = parseShadowPlain(payload);
    if (!parsed.ok) return reject(request, refusalOf(parsed), parsed.clientToken);
    const { clientToken } = parsed.value;
    const view = await shadows.get(keyOf(topic)).catch((error: unknown) => {
      if (isHoldfastError(error, 'REQUEST_THROTTLED')) return null;
      throw error;
    });
    if (view === null) return reject(request, tooMany, clientToken);
    if (view === undefined) return reject(request, noShadowNamed(topic), clientToken);
    const { state, metadata, delta, version, timestamp } = view;
    return tell([set.build({ ...topic, kind: 'shadow_answer', outcome: 'accepted' })], () => ({
      state: { ...state, ...(delta && { delta: delta.state }) },
      metadata: { ...metadata, ...(delta && { delta: delta.metadata }) },
      version,
      timestamp,
      ...tokenOf(clientToken),
    }));
  };

  const change = async (request: ShadowRequestMessage): Promise<void> => {
    const { topic, set, payload } = request;
    const parsed = parseChange(topic, payload);
    if (!parsed.ok) return reject(request, refusalOf(parsed), parsed.clientToken);
    const { clientToken, ...event } = parsed.value;
    const outcome = await shadows.request({
      ...keyOf(topic),
      ...event,
      writer: `device:${topic.device}`,
      asker: { door: set.door, ...tokenOf(clientToken) },
    });
    if (!outcome.accepted) await reject(request, outcome, clientToken);
  };

  return {
    async handle(request) {
      const { sessionId, topic, payload } = request;
      const others = inFlight.get(sessionId) ?? 0;
      if (others >= maxInFlight) return reject(request, tooMany, clientTokenIn(payload));
      inFlight.set(sessionId, others + 1);
      try {
        await (topic.operation === 'get' ? get(request) : change(request));
      } catch (error) {
        // What may go well another time is thrown on: the publish is not acknowledged, and comes again.
        finalReasonOf(error);
        await reject(request, internal, clientTokenIn(payload));
        throw error;
      } finally {
        const left = (inFlight.get(sessionId) ?? 1) - 1;
        if (left > 0) inFlight.set(sessionId, left);
        else inFlight.delete(sessionId);
      }
    },

    async connected(device) {
      for (const name of await shadows.namesOf(device)) {
        // Who begins a new session has no subscription yet, and asks by itself.
        if (!deltaTopics({ device, ...topicName(name) }).some(isHeard)) continue;
        const view = await shadows.get({ device, name });
        if (view !== undefined) await sendDelta(view);
      }
    },

    async shadowChanged(told) {
      const { device, name, version, timestamp, answer, documents } = told;
      const of = { device, ...topicName(name) };
      const token = tokenOf(answer?.clientToken);
      const asked = shadowTopicSets.find(({ door }) => door === answer?.door);
      if (answer !== undefined && asked !== undefined) {
        const { operation } = answer;
        const accepted =
          operation === 'update' ? { state: answer.state, metadata: answer.metadata } : {};
        await tell(
          [asked.build({ kind: 'shadow_answer', operation, outcome: 'accepted', ...of })],
          () => ({ ...accepted, version, timestamp, ...token }),
        );
      }
      if (isConnected(device)) await sendDelta(told, answer?.clientToken);
      if (documents !== undefined) {
        const body = () => ({ ...documents, timestamp, ...token });
        await tellAll({ kind: 'shadow_documents', ...of }, body);
      }
    },
  };
};

type Change =
  | {
      readonly type: 'update';
      readonly patch: ShadowUpdateRequest['state'];
      readonly version?: number;
      readonly clientToken?: string;
    }
  | { readonly type: 'delete'; readonly version?: number; readonly clientToken?: string };

const parseChange = (topic: ShadowRequestTopic, payload: Uint8Array): Parsed<Change> => {
  if (topic.operation === 'delete') {
    const parsed = parseShadowPlain(payload);
    return parsed.ok ? { ok: true, value: { type: 'delete', ...parsed.value } } : parsed;
  }
  const parsed = parseShadowUpdate(payload);
  if (!parsed.ok) return parsed;
  const { state, ...rest } = parsed.value;
  return { ok: true, value: { type: 'update', patch: state, ...rest } };
};

const keyOf = ({ device, name }: ShadowRequestTopic): { device: string; name: string } => ({
  device,
  name: name ?? classicShadow,
});

const topicName = (name: string): { readonly name?: string } =>
  name === classicShadow ? {} : { name };

const tokenOf = (clientToken: string | undefined): { readonly clientToken?: string } =>
  clientToken === undefined ? {} : { clientToken };

const refusalOf = ({ code, reason }: Rejection) => ({ code, message: reason });

/** In the words of AWS IoT, for which the classic shadow has the name of its thing. */
const noShadowNamed = ({ device, name = device }: ShadowRequestTopic): Refusal => ({
  code: 404,
  message: `No shadow exists with name: '${name}'`,
});
