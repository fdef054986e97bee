/** Logs: JSON lines without secrets. */
import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino';

export type { Logger };

export interface LoggerOptions {
  readonly program: string;
  /** trace, debug, info, warn, error, fatal or silent. */
  readonly level?: string;
  /** Where the lines go: a LogStream on stderr, or whatever a test reads. */
  readonly to: DestinationStream;
}

/** Fields of these names are never written, at the top and up to two levels below. `code` is an error's and stays. */
const secretFields = [
  'secret',
  'token',
  'password',
  'authorization',
  'privateKey',
  'privatePem',
  'claimCode',
];
/** Claim codes and login codes, in whatever text they stand. */
const codes = /\bhf[gdl]1-[\w-]{16,}/gi;
const censor = '[redacted]';
export const createLogger = ({ program, level = 'info', to }: LoggerOptions): Logger =>
  pino(
    {
      level,
      base: { program },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: stdSerializers.errWithCause, error: stdSerializers.errWithCause },
      redact: {
        paths: secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor,
      },
      hooks: { streamWrite: (line) => line.replace(codes, censor) },
    },
    to,
  );
