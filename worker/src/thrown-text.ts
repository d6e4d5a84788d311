/** What somebody else's function threw, in words. It may be anything, and throw itself when it is looked at. */
export function thrownText(read: () => unknown): string {
  try {
    return String(read());
  } catch {
    return "something that cannot be read";
  }
}
