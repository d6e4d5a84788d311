import { constants } from "node:fs";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** The few things a journal asks of a file system, so that tests can fail them. */
export type JournalDisk = {
  /** The whole file; undefined when there is none. */
  read(path: string): Promise<Buffer | undefined>;
  /** A new empty file, in place of what was there. */
  create(path: string): Promise<JournalFile>;
  /** Puts `from` in the place of `to`, durably. */
  replace(from: string, to: string): Promise<void>;
};

export type JournalFile = {
  /** Returns once what was written survives a power cut. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
};

const { O_CREAT, O_DSYNC, O_TRUNC, O_WRONLY } = constants;

/** Linux writes and syncs in one call when asked to; elsewhere it takes two. */
const writesDurably = process.platform === "linux";
const createFlags = O_WRONLY | O_CREAT | O_TRUNC | (writesDurably ? O_DSYNC : 0);

export const localDisk: JournalDisk = {
  async read(path) {
    try {
      return await readFile(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  },

  async create(path) {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, createFlags, 0o600);
    return {
      async write(bytes, position) {
        let written = 0;
        while (written < bytes.length) {
          const part = await file.write(bytes, written, bytes.length - written, position + written);
          written += part.bytesWritten;
        }
        if (!writesDurably) await file.datasync();
      },
      close: () => file.close(),
    };
  },

  async replace(from, to) {
    await rename(from, to);
    // The new name is durable once its directory is; Windows cannot sync one, and does not need it.
    if (process.platform === "win32") return;
    const directory = await open(dirname(to), "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
};
