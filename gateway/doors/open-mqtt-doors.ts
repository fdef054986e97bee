/** Opens the doors that stand behind the broker: the native topics with the older set, and those of AWS IoT. */
import type { BrokerDependencies } from '../broker/broker.js';
import type { ShadowListener } from '../shadows/shadow-effects.js';
import { openAwsDoor } from './aws/aws-door.js';
import { type NativeDoorDeps, openNativeDoor } from './native/native-door.js';
import { type ShadowDoorDeps, shadowDoor } from './shadow/shadow-door.js';

export interface MqttDoorsDeps
  extends Omit<NativeDoorDeps, 'shadows' | 'fence'>,
    Pick<ShadowDoorDeps, 'shadows' | 'isHeard' | 'isConnected'> {
  readonly fence: NativeDoorDeps['fence'] & { isFenced(): boolean };
}

export interface MqttDoors extends Required<Pick<BrokerDependencies, 'handle' | 'onSession'>> {
  /** Tells of shadows on the topics of all of them. */
  readonly shadows: ShadowListener;
}

export const openMqttDoors = (deps: MqttDoorsDeps): MqttDoors => {
  const now = (): number => deps.clock.now();
  const shadows = shadowDoor({ ...deps, now, isFenced: () => deps.fence.isFenced() });
  const native = openNativeDoor({ ...deps, shadows });
  const aws = openAwsDoor({ ...deps, shadows, now });
  return {
    handle: (message) =>
      message.topic.startsWith('$aws/') ? aws.handle(message) : native.handle(message),
    onSession: native.onSession,
    shadows,
  };
};
