/** What the permissions of a file let a user do. */
import type { ServiceUser } from './service-user.js';

/** Whether a user may read and write it. */
export const mayUse = (
  { mode, uid, gid }: { readonly mode: number; readonly uid: number; readonly gid: number },
  user: ServiceUser,
): boolean => {
  const bits = uid === user.uid ? mode >> 6 : user.gids.includes(gid) ? mode >> 3 : mode;
  return (bits & 0o6) === 0o6;
};
