/** A device at the far end of a line that always has something to say: telemetry, a few frames ahead of what was acknowledged. */
import { encodeFrame, parseDownFrame, type UpFrame } from '@holdfast/devices/serial/frames';
import { LineFramer } from '@holdfast/devices/serial/line-framer';
import { openPseudoTerminal } from '@holdfast/devices/serial/pseudo-terminal';

export interface FullLineOptions {
  readonly device: string;
  /** Where the gateway looks for the line. */
  readonly link: string;
  /** What the wire carries; undefined: as much as is taken. */
  readonly bytesPerS: number | undefined;
}

export interface FullLine {
  /** Resolves when the gateway has welcomed the device. */
  readonly welcome: Promise<void>;
  begin(): void;
  /** Resolves at the next acknowledgement. */
  moved(): Promise<void>;
  /** Frames that were acknowledged, those that were sent, and their bytes, since the last call. */
  take(): { readonly acknowledged: number; readonly sent: number; readonly bytes: number };
  close(): Promise<void>;
}

/** As many frames may be unacknowledged. */
export const ahead = 8;

export const openFullLine = async ({
  device,
  link,
  bytesPerS,
}: FullLineOptions): Promise<FullLine> => {
  const line = await openPseudoTerminal({ link });
  const framer = new LineFramer({ maxLineBytes: 4_096 });
  const boot = `bench-${process.pid}`;
  let [sent, acknowledged, bytes] = [0, 0, 0];
  let before = { acknowledged: 0, sent: 0, bytes: 0 };
  let isFull = false;
  /** When the wire has carried what was put on it. */
  let freeAt = 0;
  let waiting: NodeJS.Timeout | undefined;
  let resolve: () => void = () => undefined;
  let wake: () => void = () => undefined;
  const welcome = new Promise<void>((done) => {
    resolve = done;
  });
  const say = (frame: UpFrame): number => {
    const text = encodeFrame(frame, false);
    line.write(text);
    return Buffer.byteLength(text);
  };
  const goOn = (): void => {
    while (isFull && waiting === undefined && sent - acknowledged < ahead) {
      const value = 20 + (sent % 100) / 10;
      const length = say({
        ...{ t: 'telemetry', series: 'temperature', value, ts: Date.now(), boot, seq: sent },
      });
      sent += 1;
      bytes += length;
      if (bytesPerS === undefined) continue;
      const now = performance.now();
      freeAt = Math.max(freeAt, now - 20) + (length / bytesPerS) * 1_000;
      if (freeAt - now < 1) continue;
      waiting = setTimeout(() => {
        waiting = undefined;
        goOn();
      }, freeAt - now);
    }
  };
  line.onData((chunk) => {
    for (const text of framer.push(chunk)) {
      const frame = parseDownFrame(text)?.frame;
      if (frame?.t === 'who') {
        say({ t: 'hello', id: device, model: 'bench', version: '1', boot });
      } else if (frame?.t === 'welcome') resolve();
      else if (frame?.t === 'ping') say({ t: 'pong' });
      else if (frame?.t === 'ack' && frame.seq !== undefined) acknowledged += 1;
    }
    wake();
    goOn();
  });
  return {
    welcome,
    begin() {
      isFull = true;
      goOn();
    },
    moved: () =>
      new Promise((done) => {
        wake = done;
      }),
    take() {
      const now = { acknowledged, sent, bytes };
      const since = {
        acknowledged: now.acknowledged - before.acknowledged,
        sent: now.sent - before.sent,
        bytes: now.bytes - before.bytes,
      };
      before = now;
      return since;
    },
    async close() {
      isFull = false;
      clearTimeout(waiting);
      await line.close();
    },
  };
};
