/** What a test of a campaign over several kinds of devices asks of each: an image, and a device that is there and then updated. */
export interface KindOfDevice {
  /** Its id, and the name of its kind. */
  readonly device: string;
  readonly model: string;
  /** The image of the version to come, and what else `holdfast firmware sign` has to know of it. */
  readonly image: string;
  readonly signArgs?: readonly string[];
  /** Comes online with the version before. */
  start(): Promise<void>;
  /** Does what a device of this kind does when it is told of an update; resolves when it has restarted into it. */
  update(): Promise<void>;
  /** What it has been doing, for a test that fails. */
  story(): string;
}
