/**
 * A device's id: 1–64 of `[A-Za-z0-9_-]`. Prototype names (`constructor`, `__proto__`) are valid ids, so whoever looks
 * devices up by id uses a `Map`, never an object.
 */
export const isDeviceId = (id: string): boolean => isName(id, 64);

/** A job's, a campaign's or a command's id follows the rule of device ids. */
export const isEntityId = isDeviceId;

/** A named shadow: 1–64 of `[A-Za-z0-9:_-]`, as AWS IoT has it, but not `-`, which stands for the one without a name. */
export const isShadowName = (name: string): boolean => name !== '-' && isName(name, 64, ':');

/** A telemetry series of a device: 1–64 of `[A-Za-z0-9_.:-]`. */
export const isSensorName = (name: string): boolean => isName(name, 64, '.:');

/** The device an MQTT client id speaks for: the id itself, or what stands before `:` and a suffix; undefined when neither. */
export const deviceOfClientId = (clientId: string): string | undefined => {
  const colon = clientId.indexOf(':');
  if (colon < 0) return isDeviceId(clientId) ? clientId : undefined;
  const device = clientId.slice(0, colon);
  return isDeviceId(device) && isName(clientId.slice(colon + 1), 64, '.:') ? device : undefined;
};

const isName = (text: string, maxLength: number, extra = ''): boolean => {
  if (text.length === 0 || text.length > maxLength) return false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const isWordCharacter =
      (code >= 97 && code <= 122) || // a-z
      (code >= 48 && code <= 57) || // 0-9
      (code >= 65 && code <= 90) || // A-Z
      code === 95 || // _
      code === 45; // -
    if (!isWordCharacter && !extra.includes(text.charAt(at))) return false;
  }
  return true;
};
