/** Timers of Node reach no further, in milliseconds: one that is set for later fires at once. */
export const timerMsMax = 0x7fff_ffff;
