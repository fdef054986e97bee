/** A login: where an API is, which root vouches for it and the token it takes. Kept 0600 below the data folder. */

import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import { makeFolder } from '../storage/make-folder.js';
import { openRecord, type StoredRecord } from '../storage/record.js';
import type { StoreLog } from '../storage/store.js';

const profileSchema = v.object({
  /** `host:port`. */
  address: v.pipe(v.string(), v.minLength(1)),
  root_pem: v.string(),
  token: v.string(),
});
export type Profile = v.InferOutput<typeof profileSchema>;

/** What is logged in to: the control plane's admin API or a gateway's local API. */
export type ProfileKind = 'cloud' | 'gateway';

const openProfile = (
  dataDirectory: string,
  kind: ProfileKind,
): Promise<StoredRecord<Profile | null>> =>
  openRecord<Profile | null>({
    path: join(dataDirectory, `${kind}.json`),
    parse: v.parser(v.nullable(profileSchema)),
    initial: null,
    log: silentLog,
  });

/** A torn login is no loss worth a word: the one before loads, or the next call says to log in. */
const silentLog: StoreLog = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Undefined when nobody logged in. */
export const findProfile = async (
  dataDirectory: string,
  kind: ProfileKind,
): Promise<Profile | undefined> => (await openProfile(dataDirectory, kind)).data ?? undefined;

export const readProfile = async (dataDirectory: string, kind: ProfileKind): Promise<Profile> => {
  const profile = await findProfile(dataDirectory, kind);
  if (profile !== undefined) return profile;
  throw new HoldfastError(
    'NOT_AUTHENTICATED',
    kind === 'cloud'
      ? `no login to a control plane in ${dataDirectory}; its first start printed a login code`
      : `no login to a gateway in ${dataDirectory}; its enrolment printed a login code`,
    { data: { next: 'holdfast login CODE, or --data with the folder of the logins' } },
  );
};

export const writeProfile = async (
  dataDirectory: string,
  kind: ProfileKind,
  profile: Profile,
): Promise<void> => {
  await makeFolder(dataDirectory, 0o700);
  const record = await openProfile(dataDirectory, kind);
  await record.update(() => profile);
};
