/** Logs: JSON lines on stderr, without secrets. */
import { type DestinationStream, destination, type Logger, pino, stdSerializers } from 'pino';

export type { Logger };

export interface LoggerOptions {
  readonly program: string;
  /** trace, debug, info, warn, error, fatal or silent. */
  readonly level?: string;
  /** stderr unless a test wants to read along. */
  readonly to?: DestinationStream;
}

export interface ProgramLogger {
  readonly log: Logger;
  /** Writes out what is held back; to be called before the process ends. */
  readonly flush: () => void;
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
/** A reader of stderr that stalls must not stall the program: above this, lines are dropped. */
const mostHeldBytes = 4 * 1024 * 1024;

export const createLogger = ({ program, level = 'info', to }: LoggerOptions): ProgramLogger => {
  const stderr =
    to === undefined ? destination({ fd: 2, sync: false, maxLength: mostHeldBytes }) : undefined;
  // Nobody reads any longer, and there is nowhere else to say so.
  stderr?.on('error', () => undefined);
  const log = pino(
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
    to ?? stderr ?? process.stderr,
  );
  return {
    log,
    flush: () => {
      try {
        stderr?.flushSync();
      } catch {
        // stderr is closed or not open yet: there is nobody to tell.
      }
    },
  };
};
