/** What is counted about signals. */
export interface SignalObserver {
  readonly delivered: (signals: number, isRedelivered: boolean) => void;
  /** Not delivered, or not stored, and why. */
  readonly dropped: (signals: number, reason: string) => void;
  readonly published: (signals: number, isDuplicate: boolean) => void;
}
