/**
 * The one table of error codes. A code is stable: it may gain a better text, never another meaning.
 *
 * `meaning` says what happened in the words of the person it happened to, `retry` whether the same request may succeed
 * later without being changed, `grpc` the canonical gRPC status (google.rpc.Code) and `http` the HTTP status.
 */
export interface ErrorCodeRow {
  readonly meaning: string;
  readonly retry: boolean;
  readonly grpc: GrpcStatusName;
  readonly http: number;
}

export type GrpcStatusName =
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'UNAUTHENTICATED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DEADLINE_EXCEEDED'
  | 'DATA_LOSS';

const row = (
  meaning: string,
  retry: boolean,
  grpc: GrpcStatusName,
  http: number,
): ErrorCodeRow => ({ meaning, retry, grpc, http });

export const errorCodes = {
  CERTIFICATE_EXPIRED: row(
    'The certificate expired too long ago to be renewed',
    false,
    'FAILED_PRECONDITION',
    403,
  ),
  CERTIFICATE_INVALID: row('The certificate cannot be used', false, 'INVALID_ARGUMENT', 400),
  CERTIFICATE_REQUEST_INVALID: row(
    'The certificate request cannot be used',
    false,
    'INVALID_ARGUMENT',
    400,
  ),
  CHILD_FAILED: row(
    'A program that was started ended or did not get ready',
    false,
    'INTERNAL',
    500,
  ),
  CLAIM_CODE_INVALID: row(
    'The code was mistyped or is for something else',
    false,
    'INVALID_ARGUMENT',
    400,
  ),
  CLAIM_EXPIRED: row('The code has expired', false, 'FAILED_PRECONDITION', 403),
  CLAIM_UNKNOWN: row('The code is not known here', false, 'PERMISSION_DENIED', 403),
  CLAIM_USED: row('The code was used already', false, 'FAILED_PRECONDITION', 403),
  CLOCK_BELOW_FLOOR: row(
    'It is later than that by all that is known',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  COMMAND_FAILED: row('A program that was run ended with a failure', false, 'INTERNAL', 500),
  CONFIGURATION_INVALID: row('The configuration is wrong', false, 'INVALID_ARGUMENT', 400),
  CONFIGURATION_ROLLED_BACK: row(
    'The gateway was not healthy with the new configuration; the one before is in force',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  CONNECTION_FAILED: row('The other side could not be reached', true, 'UNAVAILABLE', 503),
  DEADLINE_EXCEEDED: row('It took longer than allowed', true, 'DEADLINE_EXCEEDED', 504),
  DEVICE_DISABLED: row('The device is disabled', false, 'PERMISSION_DENIED', 403),
  DEVICE_RETIRED: row('The device is retired', false, 'PERMISSION_DENIED', 403),
  EXECUTION_OVER: row('This update is over or was taken back', false, 'FAILED_PRECONDITION', 410),
  FIRMWARE_BUSY: row(
    'Too many devices load firmware from this site at once',
    true,
    'RESOURCE_EXHAUSTED',
    503,
  ),
  FIRMWARE_COMING: row('The firmware is on its way to the site', true, 'UNAVAILABLE', 503),
  FIRMWARE_COUNTER_TOO_LOW: row(
    "The security counter of the firmware is lower than the device's",
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  FIRMWARE_DATA_ENDLESS: row(
    'There is more data than what is signed may have',
    false,
    'RESOURCE_EXHAUSTED',
    413,
  ),
  FIRMWARE_FROZEN: row(
    'What says which firmware is current is too old to believe',
    true,
    'FAILED_PRECONDITION',
    409,
  ),
  FIRMWARE_METADATA_EXPIRED: row(
    'What the firmware is signed with has expired',
    true,
    'FAILED_PRECONDITION',
    409,
  ),
  FIRMWARE_METADATA_INVALID: row(
    'The metadata of the firmware is malformed',
    false,
    'INVALID_ARGUMENT',
    400,
  ),
  FIRMWARE_METADATA_MISSING: row(
    'Metadata that the firmware needs is not there',
    true,
    'FAILED_PRECONDITION',
    409,
  ),
  FIRMWARE_MIX_AND_MATCH: row(
    'These files do not belong together',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  FIRMWARE_ROLLBACK: row(
    'It is older than what is trusted or installed already',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  FIRMWARE_SIGNATURE_INVALID: row(
    'A signature of the firmware is not good',
    false,
    'PERMISSION_DENIED',
    403,
  ),
  FIRMWARE_SOURCE_VERSION: row(
    'The firmware cannot follow the version that is installed',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  FIRMWARE_TARGET_UNKNOWN: row(
    'Nobody who may sign this firmware has signed it',
    false,
    'PERMISSION_DENIED',
    403,
  ),
  FIRMWARE_THRESHOLD_NOT_MET: row(
    'Too few of the keys that must sign have signed',
    false,
    'PERMISSION_DENIED',
    403,
  ),
  FIRMWARE_WRONG_HARDWARE: row(
    'The firmware is for other hardware',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  FIRMWARE_WRONG_MODEL: row('The firmware is for another model', false, 'FAILED_PRECONDITION', 409),
  FLASH_IMAGE_INVALID: row('The image is none that this part runs', false, 'INVALID_ARGUMENT', 400),
  FLASH_IMAGE_TOO_LARGE: row(
    'The image does not fit beside the boot loader',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  FLASH_NO_BOOT_LOADER: row('No boot loader answers on the line', true, 'UNAVAILABLE', 503),
  FLASH_PART_MISMATCH: row(
    'Another microcontroller stands on the line',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  FLASH_PART_UNKNOWN: row('No such part is known', false, 'INVALID_ARGUMENT', 400),
  FLASH_REFUSED: row('The boot loader refuses a request', false, 'FAILED_PRECONDITION', 409),
  FLASH_VERIFY_FAILED: row('What was written does not read back', true, 'DATA_LOSS', 500),
  GATEWAY_ALREADY_ENROLLED: row(
    'This folder belongs to an enrolled gateway',
    false,
    'ALREADY_EXISTS',
    409,
  ),
  GATEWAY_CLONED: row('Two gateways have the same identity', false, 'FAILED_PRECONDITION', 409),
  GATEWAY_FENCED: row('Another gateway owns this site now', false, 'FAILED_PRECONDITION', 409),
  GATEWAY_NOT_ENROLLED: row(
    'There is no enrolled gateway in this folder',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  GPIO_UNAVAILABLE: row('A GPIO line cannot be used', true, 'UNAVAILABLE', 503),
  HARDWARE_KEY_FAILED: row('The token does not sign', true, 'UNAVAILABLE', 503),
  INTERNAL: row('Holdfast made a mistake', false, 'INTERNAL', 500),
  JOURNAL_HOLE: row('Entries of the journal are missing', false, 'DATA_LOSS', 500),
  KEY_INVALID: row('The private key is missing or damaged', false, 'FAILED_PRECONDITION', 500),
  LOGIN_CODE_INVALID: row('The login code is not one', false, 'INVALID_ARGUMENT', 400),
  MANUFACTURER_REFUSED: row(
    'The manufacturer of this device may not enrol it here',
    false,
    'PERMISSION_DENIED',
    403,
  ),
  METHOD_NOT_ALLOWED: row('This cannot be done here', false, 'UNIMPLEMENTED', 405),
  NOT_AUTHENTICATED: row('Nobody said who is asking', false, 'UNAUTHENTICATED', 401),
  NOT_AUTHORISED: row('The one who asks may not do this', false, 'PERMISSION_DENIED', 403),
  NOT_ENROLLED: row('This device has not been enrolled', false, 'FAILED_PRECONDITION', 412),
  ORDERS_REFUSED: row(
    'The batch of orders is not signed for this site',
    false,
    'PERMISSION_DENIED',
    403,
  ),
  PASSWORD_UNFIT: row('The password is too short or too long', false, 'INVALID_ARGUMENT', 400),
  PEER_REFUSED: row(
    'The certificate of the other side is not accepted',
    false,
    'UNAUTHENTICATED',
    401,
  ),
  PLAN_CONFLICT: row(
    'A plan of the same revision has other content',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  PLAN_DOCUMENT_INVALID: row(
    'A document of the plan is not what its head names',
    false,
    'INVALID_ARGUMENT',
    400,
  ),
  PLAN_HEAD_INVALID: row('The head of the plan is malformed', false, 'INVALID_ARGUMENT', 400),
  PLAN_OLDER: row('A newer plan is applied already', false, 'FAILED_PRECONDITION', 409),
  PLAN_OTHER_SITE: row('The plan is for another site', false, 'PERMISSION_DENIED', 403),
  PLAN_SIGNATURE_INVALID: row(
    'The plan is not signed by this fleet',
    false,
    'PERMISSION_DENIED',
    403,
  ),
  PORT_UNAVAILABLE: row('A port to listen on cannot be had', true, 'UNAVAILABLE', 503),
  REQUEST_INVALID: row('The request is malformed', false, 'INVALID_ARGUMENT', 400),
  REQUEST_THROTTLED: row('Too many requests at once', true, 'RESOURCE_EXHAUSTED', 429),
  REQUEST_TOO_LARGE: row('The request is over its size limit', false, 'RESOURCE_EXHAUSTED', 413),
  RESOURCE_CONFLICT: row('It was changed meanwhile', false, 'ABORTED', 409),
  RESOURCE_EXISTS: row('One with this name exists already', false, 'ALREADY_EXISTS', 409),
  RESOURCE_IN_USE: row('Something else still needs it', false, 'FAILED_PRECONDITION', 409),
  RESOURCE_NOT_FOUND: row('There is no such thing', false, 'NOT_FOUND', 404),
  RESOURCE_STATE_WRONG: row(
    'This cannot be done to it as it is now',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  REVOCATIONS_STALE: row(
    'The site has not heard for too long what was revoked',
    true,
    'FAILED_PRECONDITION',
    503,
  ),
  SERIAL_LINE_BUSY: row('The serial line takes no more for now', true, 'RESOURCE_EXHAUSTED', 503),
  SERIAL_LINE_DOWN: row('The serial line is away', true, 'UNAVAILABLE', 503),
  SERIAL_SETTINGS_REFUSED: row(
    'The serial port cannot be set so',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  SITE_CA_EXPIRED: row(
    'The authority of this site has expired and certifies nobody until the gateway reached the control plane',
    true,
    'UNAVAILABLE',
    503,
  ),
  STORE_CONFLICT: row('The row is not what the change was decided on', true, 'ABORTED', 409),
  STORE_CONSTRAINT: row('A row breaks a rule of its table', false, 'FAILED_PRECONDITION', 409),
  STORE_CORRUPT: row('The database file is damaged', false, 'DATA_LOSS', 500),
  STORE_FULL: row('The disk is full', true, 'RESOURCE_EXHAUSTED', 507),
  STORE_IN_USE: row('Another program uses the data folder', true, 'UNAVAILABLE', 503),
  STORE_OVERLOADED: row('More writes wait than may', true, 'RESOURCE_EXHAUSTED', 503),
  STORE_UNAVAILABLE: row('The database cannot be used now', true, 'UNAVAILABLE', 503),
  STORE_VERSION_NEWER: row(
    'The database was written by a newer Holdfast',
    false,
    'FAILED_PRECONDITION',
    500,
  ),
  TIME_REFUSED: row('The signed time answers no question of ours', false, 'PERMISSION_DENIED', 403),
  TOO_MANY_ATTEMPTS: row('Too many attempts failed', true, 'RESOURCE_EXHAUSTED', 429),
  TOO_MANY_REQUESTS: row('It asks more often than it may', true, 'RESOURCE_EXHAUSTED', 429),
  UPDATES_STOPPED: row(
    'All updates are stopped, here or in the whole fleet',
    true,
    'FAILED_PRECONDITION',
    503,
  ),
  UPDATE_ARCHIVE_REFUSED: row(
    'The archive holds what no application may',
    false,
    'INVALID_ARGUMENT',
    422,
  ),
  UPDATE_DELTA_INVALID: row(
    'A delta is damaged, or was made for another image',
    false,
    'DATA_LOSS',
    422,
  ),
  UPDATE_DIGEST_MISMATCH: row(
    'The image is not the one that was announced',
    true,
    'DATA_LOSS',
    422,
  ),
  UPDATE_DOWNLOAD_FAILED: row('The firmware could not be downloaded', true, 'UNAVAILABLE', 503),
  UPDATE_INSTALLER_MISMATCH: row(
    'The firmware is made for another installer than the device has',
    false,
    'FAILED_PRECONDITION',
    409,
  ),
  UPDATE_INSTALL_FAILED: row('The firmware could not be installed', false, 'INTERNAL', 500),
  UPDATE_MANIFEST_INVALID: row(
    'The application does not say how to run it',
    false,
    'INVALID_ARGUMENT',
    422,
  ),
  UPDATE_SIZE_MISMATCH: row('The image has another size than announced', true, 'DATA_LOSS', 422),
  UPDATE_WINDOW_CLOSED: row(
    'The update waits for a maintenance window',
    true,
    'FAILED_PRECONDITION',
    423,
  ),
} as const satisfies Record<string, ErrorCodeRow>;

export type ErrorCode = keyof typeof errorCodes;
