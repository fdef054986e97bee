import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Parsed, Rejection } from '@holdfast/protos/mqtt/json-payload';
import {
  parseShadowPlain,
  parseShadowUpdate,
  type ShadowErrorCode,
  type ShadowRejected,
  type ShadowUpdateRequest,
} from '@holdfast/protos/mqtt/shadow-payload';
import { buildTopic, type DownTopic, type UpTopic } from '@holdfast/protos/mqtt/topics';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { OutboundMessage } from '../../broker/broker.js';
import type { ShadowChange, ShadowView } from '../../shadows/shadow-change.js';
import type { ShadowListener } from '../../shadows/shadow-effects.js';
import type { Shadows } from '../../shadows/shadows.js';

/** Translates the shadow topics of the native set: requests up, answers, deltas and documents down. */
export interface ShadowDoorDeps {
  readonly shadows: Pick<Shadows, 'get' | 'namesOf' | 'request'>;
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Whether a device is there to get a delta: one that is away gets the last of them when it is back. */
  readonly isConnected: (device: string) => boolean;
  /** Whether another gateway owns the site: then what is desired here is nobody's to do. */
  readonly isFenced: () => boolean;
  readonly now: () => number;
}

export type ShadowRequestTopic = UpTopic & { readonly kind: 'shadow_request' };

export interface ShadowDoor extends ShadowListener {
  /** Resolves when what was asked is committed, or refused and told so: then the publish may be acknowledged. */
  handle(topic: ShadowRequestTopic, payload: Uint8Array): Promise<void>;
  /** A device came: it gets what is desired of it and not so, once, whatever changed while it was away. */
  connected(device: string): Promise<void>;
}

const door = 'native';
const tooMany = { code: 429, message: 'Too many requests' } as const;

export const shadowDoor = ({
  shadows,
  publish,
  isConnected,
  isFenced,
  now,
}: ShadowDoorDeps): ShadowDoor => {
  const send = (topic: DownTopic, payload: object): Promise<void> =>
    publish({ topic: buildTopic(topic), payload: Buffer.from(JSON.stringify(payload)), qos: 1 });

  const reject = (
    topic: ShadowRequestTopic,
    refusal: { readonly code: ShadowErrorCode; readonly message: string },
    clientToken: string | undefined,
  ): Promise<void> => {
    const rejected: ShadowRejected = {
      code: refusal.code,
      message: refusal.message,
      timestamp: Math.floor(now() / 1_000),
      ...tokenOf(clientToken),
    };
    return send({ ...topic, kind: 'shadow_answer', outcome: 'rejected' }, rejected);
  };

  const sendDelta = async (device: string, told: ShadowView | ShadowChange): Promise<void> => {
    if (told.delta === undefined || isFenced()) return;
    const { version, timestamp } = told;
    const clientToken = 'answer' in told ? told.answer?.clientToken : undefined;
    const payload = { version, timestamp, ...told.delta, ...tokenOf(clientToken) };
    const of = { kind: 'shadow_delta', device, ...topicName(told.name) } as const;
    await send({ ...of, form: 'update' }, payload);
    await send({ ...of, form: 'short' }, payload);
  };

  const get = async (topic: ShadowRequestTopic, payload: Uint8Array): Promise<void> => {
    const parsed = parseShadowPlain(payload);
    if (!parsed.ok) return reject(topic, refusalOf(parsed), parsed.clientToken);
    const { clientToken } = parsed.value;
    const view = await shadows.get(keyOf(topic)).catch((error: unknown) => {
      if (isHoldfastError(error, 'REQUEST_THROTTLED')) return null;
      throw error;
    });
    if (view === null) return reject(topic, tooMany, clientToken);
    if (view === undefined) return reject(topic, noShadowNamed(topic.name), clientToken);
    const { state, metadata, delta, version, timestamp } = view;
    return send(
      { ...topic, kind: 'shadow_answer', outcome: 'accepted' },
      {
        state: { ...state, ...(delta && { delta: delta.state }) },
        metadata: { ...metadata, ...(delta && { delta: delta.metadata }) },
        version,
        timestamp,
        ...tokenOf(clientToken),
      },
    );
  };

  const change = async (topic: ShadowRequestTopic, payload: Uint8Array): Promise<void> => {
    const parsed = parseChange(topic, payload);
    if (!parsed.ok) return reject(topic, refusalOf(parsed), parsed.clientToken);
    const { clientToken, ...event } = parsed.value;
    const outcome = await shadows.request({
      ...keyOf(topic),
      ...event,
      writer: `device:${topic.device}`,
      asker: { door, ...tokenOf(clientToken) },
    });
    if (!outcome.accepted) await reject(topic, outcome, clientToken);
  };

  return {
    handle: (topic, payload) =>
      topic.operation === 'get' ? get(topic, payload) : change(topic, payload),

    async connected(device) {
      for (const name of await shadows.namesOf(device)) {
        const view = await shadows.get({ device, name });
        if (view !== undefined) await sendDelta(device, view);
      }
    },

    async shadowChanged(told) {
      const { device, name, version, timestamp, answer, documents } = told;
      const of = { device, ...topicName(name) };
      const token = tokenOf(answer?.clientToken);
      if (answer?.door === door) {
        const accepted =
          answer.operation === 'update' ? { state: answer.state, metadata: answer.metadata } : {};
        await send(
          { kind: 'shadow_answer', operation: answer.operation, outcome: 'accepted', ...of },
          { ...accepted, version, timestamp, ...token },
        );
      }
      if (isConnected(device)) await sendDelta(device, told);
      if (documents !== undefined) {
        await send({ kind: 'shadow_documents', ...of }, { ...documents, timestamp, ...token });
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

const noShadowNamed = (name: string | undefined) =>
  ({ code: 404, message: `No shadow exists with name: '${name ?? 'classic'}'` }) as const;
