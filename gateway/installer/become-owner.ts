/** Files that root makes in the folder of the service's user would be nobody's whom the service runs as. */
import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Root acts as the owner of the folder from here on; the return value makes it root again. Others stay who they are. */
export const becomeOwner = (folder: string): (() => void) => {
  const { geteuid, seteuid, getegid, setegid } = process;
  if (geteuid?.() !== 0 || seteuid === undefined || setegid === undefined) return () => undefined;
  let at = folder;
  while (!existsSync(at) && at !== dirname(at)) at = dirname(at);
  // A folder that is yet to be made belongs to whoever owns the service's folder above it, if that is not root itself.
  const { uid, gid } = statSync(at);
  if (uid === 0) return () => undefined;
  const rootGid = getegid?.() ?? 0;
  setegid(gid);
  seteuid(uid);
  return () => {
    seteuid(0);
    setegid(rootGid);
  };
};
