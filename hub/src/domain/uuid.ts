const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether a text is a UUID in its canonical lower-case form. */
export function isUuid(text: string): boolean {
  return uuidForm.test(text);
}

/** The largest id: where a list that goes from newest to oldest begins. */
export const lastUuid = "ffffffff-ffff-ffff-ffff-ffffffffffff";
/** The smallest id: where a walk from oldest to newest begins. */
export const firstUuid = "00000000-0000-0000-0000-000000000000";
