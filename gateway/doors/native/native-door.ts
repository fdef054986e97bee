/**
 * Translates the native topics and the older set into device events, and answers into topics. It has no rules of its own: what a
 * publish owes is committed by the service that takes its event, and only then is it acknowledged.
 */
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parseCommandResponse } from '@holdfast/protos/mqtt/command-payload';
import { nextJob, parseJobGet, parseJobUpdate } from '@holdfast/protos/mqtt/job-payload';
import { parseJson, type Rejection } from '@holdfast/protos/mqtt/json-payload';
import { parseHeartbeat, parseNotify, parseStatus } from '@holdfast/protos/mqtt/older-payload';
import { parseTelemetry } from '@holdfast/protos/mqtt/telemetry-payload';
import type { TimeNowPayload } from '@holdfast/protos/mqtt/time-payload';
import { buildTopic, isUpTopic, parseTopic, type UpTopic } from '@holdfast/protos/mqtt/topics';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { backoff } from '@holdfast/provisioning/time/backoff';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { InboundMessage, OutboundMessage, SessionEvent } from '../../broker/broker.js';
import type { DispatchDeviceEvent, JobAnswer } from '../../devices/device-events.js';
import { authorise } from '../../trust/authorise.js';
import { finalReasonOf } from '../final-reason.js';
import type { ShadowDoor } from '../shadow/shadow-door.js';
import { nativeShadowTopics } from '../shadow/shadow-topic-set.js';

export interface NativeDoorDeps {
  readonly dispatch: DispatchDeviceEvent;
  readonly shadows: Pick<ShadowDoor, 'handle'>;
  /** Tells a device that came what waits for it. */
  readonly arrived: (device: string, sessionId: string) => Promise<void>;
  /** After a heartbeat of the older set was taken. */
  readonly beat: (device: string, sessionId: string) => Promise<void>;
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Throws GATEWAY_FENCED: then nothing of a device is taken. */
  readonly fence: { check(): void };
  /** Throws when the device is out of service. */
  readonly lifecycles: { check(device: string): void };
  readonly clock: Clock;
  readonly log: StoreLog;
}

export interface NativeDoor {
  /** The broker's `handle`. Rejects or throws when the publish cannot be taken now. */
  handle(message: InboundMessage): Promise<undefined> | undefined;
  /** The broker's `onSession`. */
  onSession(event: SessionEvent): void;
  /** Publishes that were acknowledged but could not be understood. */
  readonly refusedMessages: number;
}

type JobTopic = UpTopic & { readonly kind: 'job_request' };
type TelemetryTopic = UpTopic & { readonly kind: 'telemetry' };

export const openNativeDoor = (deps: NativeDoorDeps): NativeDoor => {
  const { dispatch, publish, clock, log } = deps;
  let refusedMessages = 0;
  /** By session, what is to be told of it and may have to be told again. */
  const latest = new Map<string, () => Promise<void>>();

  /** A payload that nothing can be made of is acknowledged all the same: sent again, it would be no better. */
  const refuse = (topic: UpTopic, { reason }: Pick<Rejection, 'reason'>): undefined => {
    refusedMessages += 1;
    log.warn({ device: topic.device, kind: topic.kind, reason }, 'a message was not understood');
  };

  const send = (topic: string, payload: object): Promise<void> =>
    publish({ topic, payload: Buffer.from(JSON.stringify(payload)), qos: 1 });

  const answerJob = async (
    topic: JobTopic,
    answer: JobAnswer | Rejection,
    token: string | undefined,
  ): Promise<void> => {
    const clientToken = token === undefined ? {} : { client_token: token };
    const [outcome, body] = wordsOf(answer);
    await send(buildTopic({ ...topic, kind: 'job_answer', outcome }), { ...body, ...clientToken });
  };

  const takeJob = async (topic: JobTopic, payload: Uint8Array): Promise<void> => {
    const { device, job } = topic;
    if (topic.operation === 'get') {
      const parsed = parseJobGet(payload);
      if (!parsed.ok) return answerJob(topic, parsed, tokenIn(payload));
      const asked = job === nextJob ? null : job;
      const answer = await dispatch({ type: 'job_asked', device, job: asked });
      return answerJob(topic, answer, parsed.value.client_token);
    }
    const parsed = parseJobUpdate(payload);
    if (!parsed.ok) return answerJob(topic, parsed, tokenIn(payload));
    const answer = await dispatch({ type: 'job_updated', device, job, update: parsed.value });
    return answerJob(topic, answer, parsed.value.client_token);
  };

  /** Nearly all of the traffic: no promise of its own for every message. */
  const takeTelemetry = (
    topic: TelemetryTopic,
    payload: Uint8Array,
  ): Promise<undefined> | undefined => {
    const parsed = parseTelemetry(payload);
    if (!parsed.ok) return refuse(topic, parsed);
    const { device, sensor: series } = topic;
    try {
      return dispatch({ type: 'telemetry', device, series, points: parsed.value });
    } catch (error) {
      return refuse(topic, { reason: finalReasonOf(error) });
    }
  };

  const take = async (
    topic: Exclude<UpTopic, TelemetryTopic>,
    message: InboundMessage,
  ): Promise<void> => {
    const { payload, sessionId: session } = message;
    const { device } = topic;
    switch (topic.kind) {
      case 'shadow_request':
        return deps.shadows.handle({ ...message, topic, set: nativeShadowTopics });
      case 'job_request':
        return takeJob(topic, payload);
      case 'command_response': {
        const parsed = parseCommandResponse(payload);
        if (!parsed.ok) return refuse(topic, parsed);
        const { command } = topic;
        return dispatch({ type: 'command_answered', device, command, response: parsed.value });
      }
      case 'time_get': {
        const now: TimeNowPayload = { ts: clock.now(), trusted: clock.trusted };
        return send(buildTopic({ kind: 'time_now', device }), now);
      }
      case 'heartbeat': {
        const parsed = parseHeartbeat(payload);
        if (!parsed.ok) return refuse(topic, parsed);
        const { serial_no: serialNo, model, current_firmware: firmwareVersion } = parsed.value;
        await dispatch({ type: 'heartbeat', device, session, serialNo, model, firmwareVersion });
        return deps.beat(device, session);
      }
      case 'status': {
        const parsed = parseStatus(payload);
        if (!parsed.ok) return refuse(topic, parsed);
        const { campaign_id: campaign, timestamp: _, ...status } = parsed.value;
        return dispatch({ type: 'status', device, session, campaign, ...status });
      }
      case 'notify': {
        const parsed = parseNotify(payload);
        if (!parsed.ok) return refuse(topic, parsed);
        const { setting_changed: setting, old_value, new_value } = parsed.value;
        return dispatch({
          type: 'setting_changed',
          device,
          setting,
          ...(old_value === undefined ? {} : { oldValue: old_value }),
          ...(new_value === undefined ? {} : { newValue: new_value }),
        });
      }
    }
  };

  const takeOther = async (
    topic: Exclude<UpTopic, TelemetryTopic>,
    message: InboundMessage,
  ): Promise<undefined> => {
    try {
      await take(topic, message);
    } catch (error) {
      refuse(topic, { reason: finalReasonOf(error) });
    }
  };

  return {
    get refusedMessages() {
      return refusedMessages;
    },

    handle(message) {
      const topic = parseTopic(message.topic);
      // Below a device's own prefix there may be topics that are none of ours: they are the broker's to route.
      if (topic === undefined || !isUpTopic(topic)) return undefined;
      // So is what a service may publish there: it is never taken for the word of the device.
      if (!authorise(message.identity, 'speak', topic.device).allowed) return undefined;
      deps.fence.check();
      deps.lifecycles.check(topic.device);
      return topic.kind === 'telemetry'
        ? takeTelemetry(topic, message.payload)
        : takeOther(topic, message);
    },

    onSession({ device, sessionId: session, connected }) {
      const told = async (): Promise<void> => {
        await dispatch({ type: 'session', device, session, connected });
        if (connected) await deps.arrived(device, session);
      };
      // What becomes of the session next takes the place of what could not be told of it.
      latest.set(session, told);
      const tell = (delays: Iterator<number, void>): void => {
        if (latest.get(session) !== told) return;
        const done = (): void => {
          if (latest.get(session) === told) latest.delete(session);
        };
        told().then(done, (error: unknown) => {
          log.warn({ err: error, device, connected }, 'a session could not be taken up');
          // As on a full disk; what waits for the device comes with it.
          const delay =
            isHoldfastError(error) && error.isRetryable ? delays.next().value : undefined;
          if (delay === undefined) done();
          else setTimeout(tell, delay, delays).unref();
        });
      };
      tell(backoff({ firstMs: 500, mostMs: 30_000 }));
    },
  };
};

const wordsOf = (answer: JobAnswer | Rejection): readonly ['accepted' | 'rejected', object] => {
  if ('reason' in answer) return ['rejected', { code: answer.code, message: answer.reason }];
  if (!answer.accepted) return ['rejected', { code: answer.code, message: answer.message }];
  return ['accepted', { execution: answer.execution }];
};

/** The token of a request that could otherwise not be read: an answer without it is lost on the device. */
const tokenIn = (payload: Uint8Array): string | undefined => {
  const json = parseJson(payload);
  if (!json.ok || typeof json.value !== 'object' || json.value === null) return undefined;
  const token = Object.entries(json.value).find(([key]) => key === 'client_token')?.[1];
  return typeof token === 'string' && token.length <= 128 ? token : undefined;
};
