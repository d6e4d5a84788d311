/**
 * Text as hubs take it: without NUL, which PostgreSQL cannot hold, and at most `bytesMax` bytes of UTF-8, cut between
 * characters.
 */
export function wireText(value: unknown, bytesMax: number): string {
  const text = String(value).replaceAll("\0", "\ufffd");
  if (Buffer.byteLength(text) <= bytesMax) return text;
  let end = bytesMax;
  const bytes = Buffer.from(text);
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}
