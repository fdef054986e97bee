/** The user that the service runs as, with the groups it is in. */
import { readFile } from 'node:fs/promises';

export interface ServiceUser {
  readonly name: string;
  readonly uid: number;
  /** Its own and those it is a member of. */
  readonly gids: readonly number[];
}

/** undefined when there is none of that name. */
export const findUser = async (
  wanted: string,
  files: { readonly passwd: string; readonly group: string } = {
    passwd: '/etc/passwd',
    group: '/etc/group',
  },
): Promise<ServiceUser | undefined> => {
  const lines = async (path: string): Promise<string[][]> =>
    (await readFile(path, 'utf8').catch(() => '')).split('\n').map((line) => line.split(':'));
  const [name, , uid, gid] = (await lines(files.passwd)).find(([user]) => user === wanted) ?? [];
  if (name === undefined) return undefined;
  const member = (await lines(files.group)).flatMap(([, , id, members = '']) =>
    members.split(',').includes(wanted) ? [Number(id)] : [],
  );
  return { name, uid: Number(uid), gids: [Number(gid), ...member] };
};
