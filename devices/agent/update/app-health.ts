/** Waits until an application is healthy in its own terms (`health` of its manifest), and passes on what it writes. */
import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { wait } from '@holdfast/provisioning/time/wait';
import axios from 'axios';
import type { AppManifest } from './app-manifest.js';

const maxLineLength = 4_096;
const pollMs = 100;
const answerTimeoutMs = 2_000;

/** Resolves once it is healthy and has stayed up as long as it asks for; rejects with the signal. */
export const awaitHealth = async (
  child: ChildProcess,
  { health, stable_s }: AppManifest,
  signal: AbortSignal,
  said: (line: string) => void,
): Promise<void> => {
  let markReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    markReady = resolve;
  });
  readLines(child.stdout, (line) => {
    if (health.type === 'ready_line' && line === health.line) markReady();
    said(line);
  });
  readLines(child.stderr, said);
  if (health.type === 'http')
    await pollHttp(`http://127.0.0.1:${String(health.port)}${health.path}`, signal);
  else await ready;
  if (stable_s > 0) await wait(stable_s * 1_000, signal);
  signal.throwIfAborted();
};

const pollHttp = async (url: string, signal: AbortSignal): Promise<void> => {
  for (;;) {
    const isUp = await axios
      .get(url, {
        timeout: answerTimeoutMs,
        signal,
        proxy: false,
        maxRedirects: 0,
        maxContentLength: 65_536,
      })
      .then(() => true)
      .catch(() => false);
    if (isUp) return;
    await wait(pollMs, signal);
  }
};

/** Always read, or the application would stop at a full pipe; an overlong line comes in pieces. */
const readLines = (stream: Readable | null, take: (line: string) => void): void => {
  let rest = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > maxLineLength) {
      lines.push(rest);
      rest = '';
    }
    for (const line of lines) take(line.slice(0, maxLineLength).trimEnd());
  });
  stream?.on('error', () => undefined);
};
