/** A phase as people type it: `5%:1h`, `50%:24h:success=95`, `100%:approve`. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { CampaignPhase, PhaseJudge } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { formatDuration, isDuration, parseDuration } from '../../duration.js';

export const phaseHelp =
  'PERCENT[:TIME][:success=N][:errors=N[/MIN]][:fleet][:approve], as 5%:1h or 50%:24h:success=95';

/** Errors: REQUEST_INVALID. */
export const parsePhase = (text: string): CampaignPhase => {
  const [percent = '', ...parts] = text.split(':').map((part) => part.trim());
  const phase = {
    percent: numberOf(percent.replace(/%$/, ''), text),
    durationSeconds: 0n,
    successPercent: 0,
    errorPercent: 0,
    errorMinCount: 0,
    judgedBy: PhaseJudge.PHASE_JUDGE_SITE,
    approval: false,
  };
  for (const part of parts) {
    const [name = '', value = ''] = part.split('=');
    if (part === 'approve') phase.approval = true;
    else if (part === 'fleet') phase.judgedBy = PhaseJudge.PHASE_JUDGE_FLEET;
    else if (isDuration(part)) phase.durationSeconds = BigInt(parseDuration('a phase')(part));
    else if (name === 'success') phase.successPercent = numberOf(value.replace(/%$/, ''), text);
    else if (name === 'errors') {
      const [most = '', least = '0'] = value.split('/');
      phase.errorPercent = numberOf(most.replace(/%$/, ''), text);
      phase.errorMinCount = numberOf(least, text);
    } else throw wrong(text);
  }
  return CampaignPhase.fromPartial(phase);
};

/** The same back, of what people asked for. */
export const formatPhase = (phase: CampaignPhase): string =>
  [
    `${phase.percent}%`,
    ...(phase.durationSeconds > 0n ? [formatDuration(Number(phase.durationSeconds))] : []),
    ...(phase.successPercent > 0 ? [`success=${phase.successPercent}`] : []),
    ...(phase.errorPercent > 0
      ? [`errors=${phase.errorPercent}${phase.errorMinCount > 0 ? `/${phase.errorMinCount}` : ''}`]
      : []),
    ...(phase.judgedBy === PhaseJudge.PHASE_JUDGE_FLEET ? ['fleet'] : []),
    ...(phase.approval ? ['approve'] : []),
  ].join(':');

const numberOf = (text: string, phase: string): number => {
  const value = text === '' ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw wrong(phase);
};

const wrong = (text: string): HoldfastError =>
  new HoldfastError('REQUEST_INVALID', `'${text}' is no phase: write ${phaseHelp}`);
