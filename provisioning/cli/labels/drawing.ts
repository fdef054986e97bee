/** What stands on a printed page: bars and lines of text, in millimetres from its upper left corner. */
export type Shape = Bar | Line;

/** A dark rectangle. */
export interface Bar {
  readonly kind: 'bar';
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** One line of text; `y` is its baseline. */
export interface Line {
  readonly kind: 'line';
  readonly x: number;
  readonly y: number;
  /** Height of the font, mm. */
  readonly size: number;
  readonly font: Font;
  readonly text: string;
}

export type Font = 'sans' | 'bold' | 'mono';

export interface Page {
  readonly width: number;
  readonly height: number;
  readonly shapes: readonly Shape[];
}
