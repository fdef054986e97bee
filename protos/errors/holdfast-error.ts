import { type ErrorCode, errorCodes } from './codes.js';

export interface HoldfastErrorDetails {
  readonly cause?: unknown;
  /** What a program may want to know of it; goes to logs and clients, so never a secret. */
  readonly data?: Readonly<Record<string, unknown>>;
}

/** The one error class of Holdfast: `code` is what programs decide on, `message` tells a person what to do next. */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: HoldfastErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.data = details.data ?? {};
  }

  /** Whether the same request may succeed later without being changed. */
  get isRetryable(): boolean {
    return errorCodes[this.code].retry;
  }

  toJSON(): { code: ErrorCode; message: string; data: Readonly<Record<string, unknown>> } {
    return { code: this.code, message: this.message, data: this.data };
  }
}

/** Narrows an unknown value that was thrown; with `code`, to that code. */
export const isHoldfastError = (error: unknown, code?: ErrorCode): error is HoldfastError =>
  error instanceof HoldfastError && (code === undefined || error.code === code);

/** The first line of whatever was thrown, for a message that wraps it. */
export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
