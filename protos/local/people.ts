/** People at a site: what a user is called, which roles there are, and what stands for a password where it is stored or sent. */
import * as v from 'valibot';

/**
 * What a person may do at a gateway, each role what the ones before it may, too: a viewer looks; a technician works on devices (shadows,
 * commands, codes, revocations); an installer changes the site itself, its users among it.
 */
export const roles = ['viewer', 'technician', 'installer'] as const;
export const role = v.picklist(roles, `Expected one of ${roles.join(', ')}`);
export type Role = v.InferOutput<typeof role>;

/** Stands for the holder of the operator token wherever a person is named, so no user can be called so. */
export const operatorName = 'operator';

/** 1–64 of `[a-z0-9_-]`, beginning with a letter or digit: lower case alone, so that two names cannot look like one. */
export const isUserName = (name: string): boolean =>
  /^[a-z0-9][a-z0-9_-]{0,63}$/.test(name) && name !== operatorName;

export const userName = v.pipe(
  v.string(),
  v.check(
    isUserName,
    `Expected a user name: 1 to 64 of a-z, 0-9, '_' and '-', and not '${operatorName}'`,
  ),
);

/** As `provisioning/pki/password-hash` writes it: parameters, salt and key. A password itself is stored nowhere. */
export const passwordHash = v.pipe(
  v.string(),
  v.regex(
    /^scrypt\$(?:ln=1[4-7],r=8,p=[1-8]\$)?[A-Za-z0-9+/]{22,86}={0,2}\$[A-Za-z0-9+/]{43}=$/,
    'Expected a hash as "holdfast-gateway hash-password" prints it',
  ),
);

export const localUser = v.strictObject({ user: userName, role, password_hash: passwordHash });
export type LocalUser = v.InferOutput<typeof localUser>;

/** Beyond it a password is no longer typed, and the hash would be asked to read a file. */
export const longestPasswordBytes = 256;
export const shortestPassword = 10;

/** `POST /api/v1/sessions`. */
export const signInRequest = v.strictObject({
  user: v.pipe(v.string(), v.maxLength(64)),
  password: v.pipe(v.string(), v.maxLength(longestPasswordBytes)),
  /** The token of an earlier session of this user, over or not: whoever has it is not kept out for what others tried. */
  earlier_token: v.exactOptional(v.pipe(v.string(), v.maxLength(256))),
});

export const signInAnswer = v.object({
  token: v.string(),
  user: v.string(),
  role,
  /** How long it lasts when it is not used, and at all. */
  idle_ms: v.number(),
  lifetime_ms: v.number(),
});
export type SignInAnswer = v.InferOutput<typeof signInAnswer>;
