/** QEMU's machine protocol, as far as things are plugged into a virtual machine and pulled out of it. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';

export class Qmp {
  readonly #socket: Socket;
  readonly #lines: Interface;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface({ input: socket });
  }

  /** `path`: of its socket, which is there. */
  static async connect(path: string): Promise<Qmp> {
    const socket = connect(path);
    const qmp = new Qmp(socket);
    await once(qmp.#lines, 'line');
    await qmp.run('qmp_capabilities');
    return qmp;
  }

  /** Resolves when it is done. */
  async run(execute: string, words: object = {}): Promise<void> {
    const answered = this.#until((message) => 'return' in message || 'error' in message);
    this.#socket.write(`${JSON.stringify({ execute, arguments: words })}\n`);
    const answer = await answered;
    if ('error' in answer) throw new Error(`${execute}: ${JSON.stringify(answer.error)}`);
  }

  /** Resolves when the machine has let go of a device. */
  async unplug(id: string): Promise<void> {
    const gone = this.#until(({ event }) => event === 'DEVICE_DELETED');
    await this.run('device_del', { id });
    await gone;
  }

  close(): void {
    this.#lines.close();
    this.#socket.destroy();
  }

  #until(look: (message: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    return new Promise((resolve) => {
      const take = (line: string): void => {
        // QEMU's own words.
        const message = JSON.parse(line) as Record<string, unknown>;
        if (!look(message)) return;
        this.#lines.off('line', take);
        resolve(message);
      };
      this.#lines.on('line', take);
    });
  }
}
