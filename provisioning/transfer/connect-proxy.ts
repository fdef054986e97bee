/**
 * Connections through an HTTP proxy that allows CONNECT (RFC 9110, 9.3.6). What is sent through them is TLS of ours, so that the proxy
 * sees where to, and nothing else.
 */
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

export interface ConnectProxy {
  readonly host: string;
  readonly port: number;
  /** `user:password`; a secret. */
  readonly credentials?: string;
}

export interface ProxySettings {
  /** `http://proxy.example:3128`. */
  readonly proxy?: string | undefined;
  /** File that holds `user:password`. */
  readonly proxyCredentialsFile?: string | undefined;
}

const limitMs = 10_000;
const maxCredentialsLength = 1_024;

/** undefined when no proxy is set. Errors: CONFIGURATION_INVALID. */
export const readProxy = async ({
  proxy,
  proxyCredentialsFile,
}: ProxySettings): Promise<ConnectProxy | undefined> => {
  if (proxy === undefined) return undefined;
  const { host, port } = parseProxy(proxy);
  if (proxyCredentialsFile === undefined) return { host, port };
  return { host, port, credentials: await readCredentials(proxyCredentialsFile) };
};

const parseProxy = (text: string): { host: string; port: number } => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    url === undefined ||
    url.protocol !== 'http:' ||
    url.hostname === '' ||
    url.pathname !== '/'
  ) {
    throw new HoldfastError(
      'CONFIGURATION_INVALID',
      // What was written may hold a password.
      'link.proxy has to be http://HOST:PORT: TLS to the control plane goes through it, so the proxy itself needs none',
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw new HoldfastError(
      'CONFIGURATION_INVALID',
      'link.proxy must not hold the password: write user:password into a file (mode 0600) and name it in link.proxyCredentialsFile',
    );
  }
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) };
};

const readCredentials = async (path: string): Promise<string> => {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new HoldfastError(
      'CONFIGURATION_INVALID',
      `link.proxyCredentialsFile: ${messageOf(error)}`,
    );
  });
  const line = text.trim();
  if (line.length > maxCredentialsLength || !/^[^:\n]+:[^\n]*$/.test(line)) {
    throw new HoldfastError(
      'CONFIGURATION_INVALID',
      `link.proxyCredentialsFile: ${path} has to hold one line, user:password`,
    );
  }
  return line;
};

/** Errors: CONNECTION_FAILED, with what the proxy said. */
export const connectThrough = (
  { host, port, credentials }: ConnectProxy,
  to: { readonly host: string; readonly port: number },
  signal?: AbortSignal,
): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const target = `${to.host.includes(':') ? `[${to.host}]` : to.host}:${to.port}`;
    const fail = (why: string, data: Record<string, unknown> = {}): void =>
      reject(new HoldfastError('CONNECTION_FAILED', `the proxy ${host}:${port} ${why}`, { data }));
    const asked = request({
      host,
      port,
      method: 'CONNECT',
      path: target,
      agent: false,
      timeout: limitMs,
      ...(signal && { signal }),
      headers: {
        host: target,
        ...(credentials !== undefined && {
          'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}`,
        }),
      },
    });
    asked.once('connect', ({ statusCode = 0 }, socket, head) => {
      if (statusCode === 200) {
        socket.setTimeout(0);
        // It may have read what the far end said first.
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      socket.destroy();
      fail(refusals(statusCode, target, credentials !== undefined), { status: statusCode });
    });
    asked.once('response', (response) => {
      response.destroy();
      fail(`answers, but is no proxy (${response.statusCode})`, { status: response.statusCode });
    });
    asked.once('timeout', () => asked.destroy(new Error('no answer')));
    asked.once('error', (error) => fail(`does not answer: ${error.message}`));
    asked.end();
  });

const refusals = (status: number, target: string, hasCredentials: boolean): string => {
  if (status === 407) {
    return hasCredentials
      ? 'does not accept the user and password of link.proxyCredentialsFile'
      : 'wants a user and password: link.proxyCredentialsFile';
  }
  if (status === 403 || status === 405) return `does not allow CONNECT to ${target} (${status})`;
  return `could not reach ${target} (${status})`;
};
