/**
 * Translates the topics of AWS IoT, for devices that were made for it. It has no rules of its own: shadows are what they are on the
 * native topics, and what a publish owes is committed by the service that takes it.
 */
import { parseAwsRequest } from '@holdfast/protos/mqtt/aws-topics';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { InboundMessage } from '../../broker/broker.js';
import { authorise } from '../../trust/authorise.js';
import { finalReasonOf } from '../final-reason.js';
import type { ShadowDoor } from '../shadow/shadow-door.js';
import { awsShadowTopics } from '../shadow/shadow-topic-set.js';
import { type AwsJobsDoor, type AwsJobsDoorDeps, awsJobsDoor } from './aws-jobs-door.js';

export interface AwsDoorDeps extends AwsJobsDoorDeps {
  readonly shadows: Pick<ShadowDoor, 'handle'>;
  /** Throws GATEWAY_FENCED: then nothing of a device is taken. */
  readonly fence: { check(): void; isFenced(): boolean };
  /** Throws when the device is out of service. */
  readonly lifecycles: { check(device: string): void };
  readonly log: StoreLog;
}

export interface AwsDoor extends Pick<AwsJobsDoor, 'connected' | 'versionReported'> {
  /** The broker's `handle` for what is beneath `$aws/`. Rejects or throws when the publish cannot be taken now. */
  handle(message: InboundMessage): Promise<undefined> | undefined;
}

export const openAwsDoor = (deps: AwsDoorDeps): AwsDoor => {
  const jobs = awsJobsDoor(deps);

  const take = async (message: InboundMessage): Promise<undefined> => {
    const topic = parseAwsRequest(message.topic);
    if (topic === undefined) return undefined;
    if (!authorise(message.identity, 'speak', topic.device).allowed) return undefined;
    deps.fence.check();
    deps.lifecycles.check(topic.device);
    try {
      if (topic.kind !== 'shadow_request') await jobs.handle(topic, message);
      else await deps.shadows.handle({ ...message, topic, set: awsShadowTopics });
    } catch (error) {
      const { device, kind } = topic;
      deps.log.warn({ device, kind, reason: finalReasonOf(error) }, 'a request was not answered');
    }
  };

  return {
    handle: take,
    connected: async (device, sessionId) => {
      if (!deps.fence.isFenced()) await jobs.connected(device, sessionId);
    },
    versionReported: (device, version) => jobs.versionReported(device, version),
  };
};
