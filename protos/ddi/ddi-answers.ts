/** What the gateway answers a client of hawkBit's Direct Device Integration, as that client reads it. Action ids are 32-bit decimals. */

export interface DdiLink {
  readonly href: string;
}

/** `GET base`. `sleep` is HH:mm:ss. At most one of `deploymentBase` and `cancelAction`. */
export interface DdiBase {
  readonly config: { readonly polling: { readonly sleep: string } };
  readonly _links?: {
    readonly deploymentBase?: DdiLink;
    readonly cancelAction?: DdiLink;
    readonly configData?: DdiLink;
    readonly installedBase?: DdiLink;
  };
}

export interface DdiArtifact {
  readonly filename: string;
  readonly size: number;
  readonly hashes: { readonly sha1: string; readonly md5: string; readonly sha256: string };
  readonly _links: {
    readonly download: DdiLink;
    readonly md5sum: DdiLink;
  };
}

/** `GET deploymentBase/{id}` and `GET installedBase/{id}`. */
export interface DdiDeployment {
  readonly id: string;
  readonly deployment: {
    readonly download: 'forced';
    readonly update: 'forced';
    readonly chunks: readonly {
      readonly part: string;
      readonly version: string;
      readonly name: string;
      readonly artifacts: readonly DdiArtifact[];
    }[];
  };
  readonly actionHistory?: { readonly status: string; readonly messages: readonly string[] };
}

/** `GET cancelAction/{id}`. */
export interface DdiCancelAction {
  readonly id: string;
  readonly cancelAction: { readonly stopId: string };
}
