/** Shared subscriptions (MQTT 5, 4.8.2): `$share/{group}/{filter}`. */

const prefix = '$share/';

/** Whether it is meant as one, well formed or not. */
export const isShared = (filter: string): boolean => filter.startsWith(prefix);

/** Its group and the filter within; undefined when it is none, or malformed. */
export const parseShared = (
  shared: string,
): { readonly group: string; readonly filter: string } | undefined => {
  if (!isShared(shared)) return undefined;
  const end = shared.indexOf('/', prefix.length);
  if (end < 0) return undefined;
  const group = shared.slice(prefix.length, end);
  const filter = shared.slice(end + 1);
  return group === '' || /[+#]/.test(group) || filter === '' ? undefined : { group, filter };
};
