/** A time that came in as an argument, as calendars and texts want it. */
export function instant(ms: number) {
  // biome-ignore lint/style/noRestrictedGlobals: it converts what it is given, and reads no clock
  return new Date(ms);
}
