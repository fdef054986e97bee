/** Opens the doors that stand behind the broker: the native topics with the older set, and those of AWS IoT. */
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import type { BrokerDependencies } from '../broker/broker.js';
import type { ShadowListener } from '../shadows/shadow-effects.js';
import { isCovered } from '../trust/topic-filter.js';
import { type AwsDoor, type AwsDoorDeps, openAwsDoor } from './aws/aws-door.js';
import { type AwsJobDocumentDeps, awsJobDocument } from './aws/aws-job-document.js';
import { type NativeDoorDeps, openNativeDoor } from './native/native-door.js';
import { OlderCommands, type OlderCommandsDeps } from './older/older-commands.js';
import { type ShadowDoorDeps, shadowDoor } from './shadow/shadow-door.js';

export interface MqttDoorsDeps
  extends Omit<NativeDoorDeps, 'shadows' | 'fence' | 'arrived' | 'beat'>,
    Pick<ShadowDoorDeps, 'shadows' | 'isHeard' | 'isConnected'>,
    Pick<AwsDoorDeps, 'site' | 'updates' | 'isSpoken'>,
    Pick<OlderCommandsDeps, 'hears'>,
    AwsJobDocumentDeps {
  readonly fence: NativeDoorDeps['fence'] & { isFenced(): boolean };
}

export interface MqttDoors
  extends Required<Pick<BrokerDependencies, 'handle' | 'onSession' | 'onSubscribed'>>,
    Pick<AwsDoor, 'versionReported'> {
  /** Tells of shadows on the topics of all of them. */
  readonly shadows: ShadowListener;
}

export const openMqttDoors = (deps: MqttDoorsDeps): MqttDoors => {
  const now = (): number => deps.clock.now();
  const isFenced = (): boolean => deps.fence.isFenced();
  const shadows = shadowDoor({ ...deps, now, isFenced });
  const aws = openAwsDoor({ ...deps, shadows, documentOf: awsJobDocument(deps), now });
  const older = new OlderCommands({ ...deps, isFenced });
  const native = openNativeDoor({
    ...deps,
    shadows,
    arrived: async (device, sessionId) => {
      await shadows.connected(device);
      await aws.connected(device, sessionId);
      await older.listening(device);
    },
    beat: (device, sessionId) => older.beat(device, sessionId),
  });
  return {
    handle: (message) =>
      message.topic.startsWith('$aws/') ? aws.handle(message) : native.handle(message),
    onSession: (event) => {
      older.onSession(event);
      native.onSession(event);
    },
    onSubscribed: ({ device, filter }) => {
      if (!isCovered(buildTopic({ kind: 'older_command', device }), filter)) return;
      older
        .listening(device)
        .catch((err: unknown) => deps.log.warn({ err, device }, 'a command has to wait'));
    },
    shadows,
    versionReported: aws.versionReported,
  };
};
