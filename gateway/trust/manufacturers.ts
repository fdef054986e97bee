/** The manufacturers of the plan, by the certificates that their devices were made with. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ManufacturersBody } from '@holdfast/protos/link/plan-documents';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { verifyManufacturer } from '@holdfast/provisioning/pki/manufacturer';
import type { Refusal } from '@holdfast/provisioning/pki/refusal';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { ManufacturerProof } from './decide-enrolment.js';

export interface ManufacturersDependencies {
  readonly clock: Clock;
  readonly planned: () => ManufacturersBody['manufacturers'];
  readonly isRevoked: (issuerKeyId: string, serial: string) => boolean;
}

type Planned = ManufacturersBody['manufacturers'][number];

export class Manufacturers {
  readonly #deps: ManufacturersDependencies;
  /** Parsed once a plan. */
  readonly #authorities = new WeakMap<Planned, readonly Certificate[]>();

  constructor(deps: ManufacturersDependencies) {
    this.#deps = deps;
  }

  /** Which device this is by the chain in DER that it presented. Errors: MANUFACTURER_REFUSED. */
  prove(presented: readonly Uint8Array[]): ManufacturerProof {
    const { planned, clock, isRevoked } = this.#deps;
    const proofs: ManufacturerProof[] = [];
    let refusal: Refusal | undefined;
    for (const manufacturer of planned()) {
      const verdict = verifyManufacturer({
        presented,
        authorities: this.#authoritiesOf(manufacturer),
        at: clock.trusted ? clock.now() : 'unchecked',
        isRevoked,
      });
      if (verdict.refused === undefined) {
        proofs.push({
          kind: 'manufacturer',
          hash: verdict.sha256,
          manufacturer,
          name: verdict.name,
        });
      } else if (refusal === undefined || refusal.refused === 'chain') refusal = verdict;
    }
    // One authority may stand under several prefixes.
    const proof =
      proofs.find(({ name, manufacturer }) => name.startsWith(manufacturer.id_prefix)) ?? proofs[0];
    if (proof !== undefined) return proof;
    throw new HoldfastError(
      'MANUFACTURER_REFUSED',
      refusal === undefined
        ? 'this site knows no manufacturers: enrol with a code (holdfast device claim ID)'
        : `the certificate that the device has from its manufacturer is refused: ${refusal.message}`,
      { data: { reason: refusal?.refused ?? 'none' } },
    );
  }

  #authoritiesOf(manufacturer: Planned): readonly Certificate[] {
    const known = this.#authorities.get(manufacturer);
    if (known !== undefined) return known;
    const parsed = manufacturer.certificates.flatMap((pem) => {
      try {
        return [parseCertificate(pem)];
      } catch {
        // The control plane has looked at it; what this gateway cannot read vouches for nobody.
        return [];
      }
    });
    this.#authorities.set(manufacturer, parsed);
    return parsed;
  }
}
