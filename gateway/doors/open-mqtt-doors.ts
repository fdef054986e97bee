/** Opens the doors that stand behind the broker: the native topics with the older set, and those of AWS IoT. */
import type { BrokerDependencies } from '../broker/broker.js';
import type { ShadowListener } from '../shadows/shadow-effects.js';
import { type AwsDoor, type AwsDoorDeps, openAwsDoor } from './aws/aws-door.js';
import { type AwsJobDocumentDeps, awsJobDocument } from './aws/aws-job-document.js';
import { type NativeDoorDeps, openNativeDoor } from './native/native-door.js';
import { type ShadowDoorDeps, shadowDoor } from './shadow/shadow-door.js';

export interface MqttDoorsDeps
  extends Omit<NativeDoorDeps, 'shadows' | 'fence' | 'arrived'>,
    Pick<ShadowDoorDeps, 'shadows' | 'isHeard' | 'isConnected'>,
    Pick<AwsDoorDeps, 'site' | 'updates'>,
    AwsJobDocumentDeps {
  readonly fence: NativeDoorDeps['fence'] & { isFenced(): boolean };
}

export interface MqttDoors
  extends Required<Pick<BrokerDependencies, 'handle' | 'onSession'>>,
    Pick<AwsDoor, 'versionReported'> {
  /** Tells of shadows on the topics of all of them. */
  readonly shadows: ShadowListener;
}

export const openMqttDoors = (deps: MqttDoorsDeps): MqttDoors => {
  const now = (): number => deps.clock.now();
  const shadows = shadowDoor({ ...deps, now, isFenced: () => deps.fence.isFenced() });
  const aws = openAwsDoor({ ...deps, shadows, documentOf: awsJobDocument(deps), now });
  const native = openNativeDoor({
    ...deps,
    shadows,
    arrived: async (device, sessionId) => {
      await shadows.connected(device);
      await aws.connected(device, sessionId);
    },
  });
  return {
    handle: (message) =>
      message.topic.startsWith('$aws/') ? aws.handle(message) : native.handle(message),
    onSession: native.onSession,
    shadows,
    versionReported: aws.versionReported,
  };
};
