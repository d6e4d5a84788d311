const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether a text is a UUID in its canonical lower-case form. */
export function isUuid(text: string): boolean {
  return uuidForm.test(text);
}

/** The largest id: where a list that goes from newest to oldest begins. */
export const lastUuid = "ffffffff-ffff-ffff-ffff-ffffffffffff";
/** The smallest id: where a walk from oldest to newest begins. */
export const firstUuid = "00000000-0000-0000-0000-000000000000";

/** The milliseconds since 1970 in a UUIDv7. */
export function timeOfUuid(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** What the UUIDv7s of a millisecond begin with. */
export function uuidPrefix(ms: number): string {
  const digits = ms.toString(16).padStart(12, "0");
  return `${digits.slice(0, 8)}-${digits.slice(8)}`;
}
