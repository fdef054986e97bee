/**
 * What a device reports of itself in its shadow is known of the device too: `firmware.version`, and `agent.boot`, the name of its run.
 * On the native topics nothing else says it before the first update.
 */
import { isJsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowListener } from '../shadows/shadow-effects.js';
import type { DeviceFacts } from './device.js';

export const factsFromShadow = (devices: {
  learned(device: string, facts: DeviceFacts): void;
}): ShadowListener => ({
  async shadowChanged({ device, name, documents }) {
    if (name !== classicShadow || documents === undefined) return;
    const { reported } = documents.current.state;
    const firmwareVersion = textAt(reported, 'firmware', 'version');
    const boot = textAt(reported, 'agent', 'boot');
    if (firmwareVersion === undefined && boot === undefined) return;
    devices.learned(device, {
      ...(firmwareVersion === undefined ? {} : { firmwareVersion }),
      ...(boot === undefined ? {} : { boot }),
    });
  },
});

const textAt = (value: JsonValue | undefined, ...path: readonly string[]): string | undefined => {
  let at = value;
  for (const key of path) at = isJsonObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  return typeof at === 'string' && at.length > 0 && at.length <= 128 ? at : undefined;
};
