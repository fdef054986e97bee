/**
 * The agent as it is shipped, in front of a board with the real Optiboot (simavr): two releases over the jobs topics, the power of the board
 * and of the Pi cut in the middle of the first, and the second one mute.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild, startChild } from '@holdfast/provisioning/program/children';
import t from 'tap';
import { openAvrBoard } from '../../simulator/avr-board/avr-board.js';
import { compileModemLines, wireModemLines } from '../../simulator/avr-board/modem-lines.js';
import {
  compileApplication,
  compileAvrBoard,
  loaderFile,
} from '../../simulator/avr-board/toolchain.js';
import { type Said, TestGateway } from '../test-gateway.js';

t.setTimeout(120_000);

const bootOf = ({ body }: Said): unknown => (body as { boot_id: unknown }).boot_id;

const bin = fileURLToPath(new URL('../../../bin/holdfast-device.js', import.meta.url));
const device = 'pump-1';
const model = 'avr-board';
const part = 'atmega328p';
const application = { board: 'optiboot', bytes: 3_000 } as const;

t.test('a microcontroller behind a Pi is flashed, whoever loses its power', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-attached-'));
  const gateway = await TestGateway.open();
  t.teardown(async () => {
    await gateway.close();
    await rm(folder, { recursive: true, force: true });
  });
  const compile = (version: string, id = device) =>
    compileApplication(folder, { ...application, device: id, version });
  const [program, loader, factory, good, mute, env] = await Promise.all([
    compileAvrBoard(folder),
    loaderFile(folder, 'optiboot'),
    compile('1.0.0'),
    compile('2.0.0'),
    // It says hello as another device, which this line takes no hello of.
    compile('3.0.0', 'nobody'),
    compileModemLines(folder),
  ]);
  const link = join(folder, 'tty');
  const board = await openAvrBoard({
    ...{ program, board: 'optiboot', loader, link, application: factory },
    flash: join(folder, 'flash.bin'),
  });
  t.teardown(() => board.close());
  await wireModemLines(board);

  const data = join(folder, 'agent');
  const config = join(folder, 'agent.yaml');
  const flash = { protocol: 'stk500v1', part: 'ATmega328P', reset: 'dtr' };
  await writeFile(
    config,
    JSON.stringify({
      device: { model },
      attached: { path: link, baudRate: 115_200, flash },
      update: { deadlineS: 3, askAgainS: 1 },
    }),
  );
  const enrolled = await runChild({
    bin,
    args: ['enroll', gateway.code, '--id', device, '--data', data, '--config', config],
  });
  t.equal(enrolled.code, 0, enrolled.stderr);
  const open = () => startChild({ bin, args: ['--data', data, '--config', config], env });

  /** Answers as a gateway does, whatever it is asked. */
  const answer = async (release: string, version: string) => {
    const job = `job-${version.replaceAll('.', '-')}`;
    const {
      url,
      sha256,
      sizeBytes: size_bytes,
    } = gateway.addFirmware(await readFile(release), {
      ...{ model, version, installer: 'flash', part },
    });
    const document = {
      ...{ operation: 'update', campaign_id: job, model, version, url, sha256, size_bytes },
    };
    const execution = { job_id: job, version: 1, status: 'offered', document };
    gateway.onPublish = ({ topic, body }) => {
      const { status } = body as { status?: string };
      const say = (to: string, what: object) =>
        setImmediate(() => gateway.send(`dt/${device}/${to}`, what));
      if (topic === `dt/${device}/shadow/get`)
        say('shadow/get/accepted', { state: { desired: {}, reported: {} }, version: 1 });
      if (topic === `dt/${device}/jobs/next/get`) say('jobs/next/get/accepted', { execution });
      if (topic === `dt/${device}/jobs/${job}/update`)
        say(`jobs/${job}/update/accepted`, { client_token: status });
      return true;
    };
    gateway.send(`dt/${device}/jobs/notify`, { execution });
    const of = (statuses: readonly string[]) => (said: Said) =>
      said.topic === `dt/${device}/jobs/${job}/update` &&
      statuses.includes((said.body as { status: string }).status);
    return {
      heard: (...statuses: string[]) => gateway.heard(of(statuses)),
    };
  };

  let agent = await open();
  t.teardown(() => agent.stop());
  await gateway.heard(
    ({ topic, body }) => topic.endsWith('/jobs/next/get') && typeof body === 'object',
  );
  board.cutAt(12, 'during');
  const first = await answer(good, '2.0.0');
  // The power of the board fails half way through a page, that of the Pi right after.
  await board.event(/^power off/);
  await agent.kill();
  await board.powerOn();
  agent = await open();
  const updated = await first.heard('succeeded', 'failed', 'rolled_back');
  t.match(updated.body, { status: 'succeeded', version: '2.0.0' });
  // That application says the same of every run; that it was reset, the agent knows.
  const [offered] = gateway.said.filter(({ topic }) => topic.endsWith('/job-2-0-0/update'));
  t.not(bootOf(updated), offered && bootOf(offered));

  const second = await answer(mute, '3.0.0');
  const back = await second.heard('succeeded', 'failed', 'rolled_back');
  t.match(back.body, { status: 'rolled_back', version: '2.0.0', error: /not healthy within/ });
  t.match(await agent.stop(), { code: 0 });
});
