/** What the installer sees of findings and plans: aligned lines that fit a terminal of 80 columns, coloured where there is one. */
import type { Terminal } from '@holdfast/provisioning/cli/terminal';
import type { Finding, Severity } from '../doctor/finding.js';
import type { Applied } from '../site-file/apply.js';
import type { Change } from '../site-file/compare.js';
import type { SitePlan } from '../site-file/plan.js';
import { differencesOf } from './differences.js';

const marks: Readonly<
  Record<Severity, { readonly mark: string; readonly colour: 'green' | 'yellow' | 'red' | 'dim' }>
> = {
  ok: { mark: '✓', colour: 'green' },
  skipped: { mark: '–', colour: 'dim' },
  warning: { mark: '!', colour: 'yellow' },
  failure: { mark: '✗', colour: 'red' },
};

/** One line a finding, its check named once, and below a warning or failure what to do. */
export const showFindings = (
  terminal: Terminal,
  findings: readonly Finding[],
  columns = 80,
): void => {
  const width = Math.max(0, ...findings.map(({ check }) => check.length));
  let last = '';
  for (const { check, severity, text, next } of findings) {
    const { mark, colour } = marks[severity];
    const label = (check === last ? '' : check).padEnd(width);
    last = check;
    const room = Math.max(40, columns - width - 5);
    const [first = '', ...more] = wrap(text, room);
    const indent = ' '.repeat(width + 4);
    terminal.line(
      `${terminal.paint('dim', label)}  ${terminal.paint(colour, mark)} ${severity === 'skipped' ? terminal.paint('dim', first) : first}`,
    );
    for (const line of more) {
      terminal.line(`${indent}${severity === 'skipped' ? terminal.paint('dim', line) : line}`);
    }
    if (next === undefined) continue;
    for (const [index, line] of wrap(next, room - 2).entries()) {
      terminal.line(`${indent}${terminal.paint('cyan', `${index === 0 ? '→' : ' '} ${line}`)}`);
    }
  }
};

/** `2 failures, 1 warning, 14 ok`. */
export const sumOf = (findings: readonly Finding[]): string => {
  const count = (severity: Severity): number =>
    findings.filter((f) => f.severity === severity).length;
  const some = (number: number, word: string): string[] =>
    number === 0 ? [] : [`${number} ${word}${number === 1 || word === 'ok' ? '' : 's'}`];
  return [
    ...some(count('failure'), 'failure'),
    ...some(count('warning'), 'warning'),
    ...some(count('ok'), 'ok'),
  ].join(', ');
};

export const showPlan = (terminal: Terminal, plan: SitePlan): void => {
  const { paint } = bind(terminal);
  terminal.line(
    plan.changes.length === 0
      ? `${paint('green', '✓')} ${plan.file} changes nothing: ${plan.revision === null ? 'it says what the defaults are' : `revision ${plan.revision} is the same`}`
      : paint(
          'bold',
          `${plan.file} would change ${plan.changes.length} setting${plan.changes.length === 1 ? '' : 's'} of ${plan.revision === null ? 'the defaults' : `revision ${plan.revision}`}:`,
        ),
  );
  showChanges(terminal, plan.changes);
  if (plan.drift.length > 0) {
    terminal.line();
    terminal.line(paint('bold', 'The running gateway differs from what was applied:'));
    for (const { setting, applied, running, because } of plan.drift) {
      terminal.line(
        `  ${paint('yellow', '!')} ${setting}: runs with ${shown(running)}, applied is ${shown(applied)}`,
      );
      terminal.line(`      ${paint('dim', `because of ${because}`)}`);
    }
  }
  if (plan.machine.length > 0) {
    terminal.line();
    terminal.line(paint('bold', 'This machine, for that file:'));
    showFindings(terminal, plan.machine);
  }
  if (plan.changes.length === 0) return;
  terminal.line();
  terminal.line(
    plan.is_running
      ? 'The gateway begins anew with it (devices reconnect), and goes back if it is not healthy.'
      : 'No gateway runs: its next start takes it, and goes back if it is not healthy.',
  );
  terminal.line(`${paint('cyan', '→')} holdfast site apply ${plan.file}`);
};

export const showChanges = (terminal: Terminal, changes: readonly Change[]): void => {
  const { paint } = bind(terminal);
  for (const { setting, from, to } of changes.flatMap(differencesOf)) {
    if (from === undefined) terminal.line(`  ${paint('green', '+')} ${setting}  ${shown(to)}`);
    else if (to === undefined) terminal.line(`  ${paint('red', '-')} ${setting}`);
    else {
      terminal.line(
        `  ${paint('yellow', '~')} ${setting}  ${paint('dim', shown(from))} → ${shown(to)}`,
      );
    }
  }
};

/** What counts for nothing while a flag or a variable says something else. */
export const showOverridden = (terminal: Terminal, overridden: Applied['overridden']): void => {
  const { paint } = bind(terminal);
  for (const { setting, wanted, running, because } of overridden) {
    terminal.line(
      `  ${paint('yellow', '!')} ${setting}: the file says ${shown(wanted)}, the gateway runs with ${shown(running)} all the same`,
    );
    terminal.line(
      `      ${paint('cyan', `→ take ${because} from its unit or command line, and start it again`)}`,
    );
  }
};

const bind = (terminal: Terminal): { readonly paint: Terminal['paint'] } => ({
  paint: (colour, text) => terminal.paint(colour, text),
});

/** Hashes of passwords are nobody's to read over a shoulder. */
const shown = (value: unknown): string => {
  if (value === undefined) return 'not set';
  const text = JSON.stringify(value).replaceAll(/scrypt\$[^"]+/g, 'scrypt$…');
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
};

const wrap = (text: string, width: number): string[] => {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
};
