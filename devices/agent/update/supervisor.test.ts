import t, { type Test } from 'tap';
import type { AppManifest } from './app-manifest.js';
import { type AppRun, Supervisor } from './supervisor.js';
import { makeDirectory, stays } from './update-fixture.js';

t.setTimeout(120_000);

const manifestOf = (...command: string[]): AppManifest => ({
  name: 'app',
  version: '1',
  command,
  health: { type: 'ready_line', line: 'ready' },
  deadline_s: 60,
  stable_s: 0,
  max_starts: 3,
});

const script = (text: string): AppManifest => manifestOf(process.execPath, '-e', text);

/** What is told, in order, and a wait for the next of a kind. */
const setUp = async (t: Test) => {
  const directory = await makeDirectory();
  const told: string[] = [];
  let look: () => void = () => undefined;
  const tell = (text: string): void => {
    told.push(text);
    look();
  };
  const supervisor = new Supervisor(
    {
      launched: () => tell('launched'),
      healthy: () => tell('healthy'),
      exited: (_, error) => tell(`exited: ${error}`),
      overdue: () => tell('overdue'),
      said: (line) => tell(`said ${line}`),
    },
    { owner: directory.path, firstRestartMs: 1, stopGraceMs: 100 },
  );
  t.teardown(async () => {
    await supervisor.close();
    await directory.remove();
  });
  const heard = async (text: string, times = 1): Promise<void> => {
    while (told.filter((one) => one.startsWith(text)).length < times) {
      await new Promise<void>((resolve) => {
        look = resolve;
      });
    }
  };
  const runOf = (manifest: () => Promise<AppManifest>, deadlineMs: number | null): AppRun => ({
    key: 'a',
    folder: directory.path,
    manifest,
    deadlineMs,
  });
  return { supervisor, told, heard, runOf };
};

t.test('starts again what ended between its success and its service', async (t) => {
  const { supervisor, heard, runOf } = await setUp(t);
  const crashes = async () => script(`console.log('ready'); setTimeout(() => process.exit(1), 50)`);
  await supervisor.run(runOf(crashes, 60_000));
  await heard('healthy');
  // The success takes its time to be committed; the process ends meanwhile.
  await heard('exited');
  await supervisor.run(runOf(async () => script(stays), null));
  await heard('launched', 2);
});

t.test('what cannot be started has ended, and is tried again in service', async (t) => {
  const { supervisor, told, heard, runOf } = await setUp(t);
  const manifests = [manifestOf(''), manifestOf('no\0name')];
  const next = async (): Promise<AppManifest> => {
    const manifest = manifests.shift();
    if (manifest !== undefined) return manifest;
    if (told.length === 2) throw new Error('not readable now');
    return script(stays);
  };
  await supervisor.run(runOf(next, null));
  await heard('launched');
  t.match(told, [/^exited: /, /^exited: /, 'exited: not readable now', 'launched']);
});

t.test('a restart ends an application that does not listen', async (t) => {
  const { supervisor, heard, runOf } = await setUp(t);
  const deaf = `process.on('SIGTERM', () => console.log('no')); console.log('up'); ${stays}`;
  await supervisor.run(runOf(async () => script(deaf), null));
  await heard('said up');
  supervisor.restart();
  await heard('said up', 2);
});
