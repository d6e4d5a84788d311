import { createWriteStream, existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { toJson } from "@bufbuild/protobuf";
import { type GetHeadResponse, GetHeadResponseSchema } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import type { CheckedBundle, KnownSeal } from "@holdfast/hub/audit-check";
import { type Command, InvalidArgumentError } from "commander";
import { collectWords } from "../arguments/list.js";
import { wholeNumber } from "../arguments/number.js";
import { CliError, usageError } from "../cli-error.js";
import { type Connection, NO_TIMEOUT } from "../connection.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import type { Io } from "../io.js";
import { JSON_OPTIONS } from "../job-json.js";
import { time } from "../job-text.js";
import type { Paint } from "../paint.js";
import { listenForShutdown } from "../shutdown.js";
import { formatFields, formatRows } from "../table.js";

const AFTER_HELP = `
What operators change is sealed within seconds: each seal is signed and holds on to the one before. A bundle of it can
be verified anywhere, without a hub: nothing in it was changed, left out or added. That its end was not cut off, and
sealed anew, only a head tells that was kept elsewhere: keep what \`audit head\` shows, or the hub's log.

Examples:
  $ holdfast audit keygen audit-key.pem          # for holdfast hub --audit-key audit-key.pem
  $ holdfast audit head
  $ holdfast audit export audit.jsonl
  $ holdfast audit verify audit.jsonl --key audit-key.pem.pub --head 42:kUYB…`;

const SEAL_MAX = Number.MAX_SAFE_INTEGER;

interface ExportFlags {
  readonly first?: number;
  readonly last?: number;
}

interface VerifyFlags {
  readonly key: readonly string[];
  readonly head?: KnownSeal;
}

export function addAuditCommand(program: Command, cli: Cli): void {
  const audit = program
    .command("audit")
    .description("seal, export and verify the history of what operators changed")
    .addHelpText("after", AFTER_HELP);

  audit
    .command("head")
    .description("show the newest seal, what is not sealed yet, and the key of the hub")
    .action((_flags: object, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const head = await connection().audit.getHead({});
        output.document(toJson(GetHeadResponseSchema, head, JSON_OPTIONS), () =>
          headText(head, io, output.paint),
        );
        return EXIT.ok;
      }),
    );

  audit
    .command("export")
    .description("write the sealed history, as a bundle, to a file")
    .argument("<file>", "where to; it must not be there yet")
    .option("--first <seal>", "first seal; 1 when absent", wholeNumber(1, SEAL_MAX))
    .option("--last <seal>", "last seal; when absent the newest, made now", wholeNumber(1, SEAL_MAX))
    .addHelpText("after", AFTER_HELP)
    .action((file: string, flags: ExportFlags, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        if (existsSync(file)) throw isThere(file);
        const bundle = await download(connection(), flags, file);
        output.document({ file, ...bundleJson(bundle) }, () => bundleText(file, bundle));
        output.remark("It is whole. That it was signed, `holdfast audit verify` tells, with the public key.");
        return EXIT.ok;
      }),
    );

  audit
    .command("verify")
    .description("check bundles offline: what was sealed is all there, and as it was")
    .argument("<files...>", "bundles; several must follow one another")
    .requiredOption("--key <files>", "public keys that are trusted (PEM), by commas", collectWords)
    .option("--head <seal>", "NUMBER:DIGEST of a seal that is known, which the bundles must hold", parseHead)
    .addHelpText("after", AFTER_HELP)
    .action((files: readonly string[], flags: VerifyFlags, command: Command) =>
      perform(cli, command, async ({ output }) => {
        const { readTrustedKeys } = await import("../audit/trusted-keys.js");
        const { checkBundle } = await import("../audit/check-bundle.js");
        const readSigned = await readTrustedKeys(flags.key);
        const checked: CheckedBundle[] = [];
        const known: KnownSeal[] = flags.head ? [flags.head] : [];
        for (const file of files) {
          const bundle = await checkBundle(file, readSigned, known);
          requireNext(checked.at(-1), bundle, file);
          checked.push(bundle);
          if (bundle.last > 0) known.push({ number: bundle.last, digest: bundle.head });
        }
        if (flags.head) requireHead(checked, flags.head);
        output.document(
          {
            verified: true,
            bundles: checked.map((bundle, at) => ({ file: files[at] ?? "", ...bundleJson(bundle) })),
          },
          () =>
            checked
              .map((bundle, at) => `${output.paint.good("verified")}  ${bundleText(files[at] ?? "", bundle)}`)
              .join("\n"),
        );
        return EXIT.ok;
      }),
    );

  audit
    .command("keygen")
    .description("make a key for hubs to seal with: FILE, and its public half FILE.pub")
    .argument("<file>", "where to; it must not be there yet")
    .action((file: string, _flags: object, command: Command) =>
      perform(cli, command, async ({ output }) => {
        const { makeAuditKey, openAuditSigner, publicFileOf } = await import("@holdfast/hub/audit-key");
        try {
          await makeAuditKey(file);
        } catch (error) {
          throw usageError(
            `${file} cannot be made: ${(error as Error).message}.`,
            "Name a file that is not there yet.",
          );
        }
        const { keyId } = await openAuditSigner(file);
        const publicKeyFile = publicFileOf(file);
        output.document({ file, publicKeyFile, keyId }, () =>
          formatRows([
            [file, `private: for \`holdfast hub --audit-key ${file}\`, and nobody else`],
            [publicKeyFile, `public, key id ${keyId}: for whoever verifies`],
          ]),
        );
        return EXIT.ok;
      }),
    );
}

/** Under another name until it is there, and whole. */
async function download(
  hub: Connection,
  { first = 0, last = 0 }: ExportFlags,
  file: string,
): Promise<CheckedBundle> {
  const { readUnverified } = await import("@holdfast/hub/audit-key");
  const { checkBundle } = await import("../audit/check-bundle.js");
  const part = `${file}.${process.pid}.part`;
  // Only so that nothing is left behind.
  const { signal, dispose } = listenForShutdown({ drains: false });
  const chunks = async function* () {
    const request = { first: BigInt(first), last: BigInt(last) };
    for await (const { chunk } of hub.audit.export(request, { ...NO_TIMEOUT, signal })) yield chunk;
  };
  const out = createWriteStream(part, { flags: "wx" });
  let isOurs = false;
  out.once("open", () => {
    isOurs = true;
  });
  try {
    await pipeline(chunks, out);
    const bundle = await checkBundle(part, readUnverified, []);
    if (existsSync(file)) throw isThere(file);
    await rename(part, file);
    return bundle;
  } catch (error) {
    throw signal.aborted ? signal.reason : asFileError(error);
  } finally {
    dispose();
    if (isOurs) await rm(part, { force: true });
  }
}

function isThere(file: string): CliError {
  return usageError(`${file} is there already.`, "Name a file that is not there yet.");
}

function asFileError(error: unknown): unknown {
  const { syscall, message } = error as NodeJS.ErrnoException;
  return syscall !== undefined
    ? usageError(
        `The bundle cannot be written: ${message}.`,
        "Name a file that can be made, on a disk with room.",
      )
    : error;
}

function requireNext(before: CheckedBundle | undefined, bundle: CheckedBundle, file: string): void {
  if (!before || (bundle.first === before.last + 1 && bundle.tenant === before.tenant)) return;
  throw usageError(
    `${file} begins with seal ${bundle.first} of tenant ${bundle.tenant}; the bundle before it ends with seal ${before.last} of tenant ${before.tenant}.`,
    "Name bundles in their order, none left out.",
  );
}

/** A bundle in which the known seal is another was refused by now; here it must be in one, or right before the first. */
function requireHead(bundles: readonly CheckedBundle[], head: KnownSeal): void {
  if (bundles.some(({ agreesWith }) => agreesWith.includes(head.number))) return;
  const first = bundles[0]?.first ?? 1;
  const last = bundles.at(-1)?.last ?? 0;
  if (head.number < first)
    throw usageError(
      `The bundles begin with seal ${first}, so seal ${head.number} cannot be compared.`,
      "Name the bundles before them, too.",
    );
  throw new CliError(`The bundles end with seal ${last}, and seal ${head.number} is known.`, {
    exitCode: EXIT.notVerified,
    reason: "NOT_VERIFIED",
    next: "Export what is newer. If the hub has no such seal any more, the end of its history was cut off.",
  });
}

function parseHead(text: string): KnownSeal {
  const [, number = "", digest = ""] = /^([1-9]\d{0,14}):([A-Za-z0-9_-]{43})$/.exec(text) ?? [];
  if (number === "")
    throw new InvalidArgumentError(`"${text}" is not NUMBER:DIGEST, as \`holdfast audit head\` shows it.`);
  return { number: Number(number), digest };
}

function headText(
  { head, waiting, oldestWaitingAt, key, changed }: GetHeadResponse,
  io: Io,
  paint: Paint,
): string {
  return formatFields(
    [
      ["head", head ? `${head.number}:${head.digest}` : "nothing is sealed yet"],
      ...(head
        ? [
            ["sealed", `${time(head.sealedAt, io.nowMs())}, ${head.operations} changes`] as const,
            ["by key", head.keyId] as const,
          ]
        : []),
      [
        "waiting",
        waiting === 0
          ? "nothing"
          : `${waiting} changes, the oldest since ${time(oldestWaitingAt, io.nowMs())}`,
      ],
      ["this hub", changed || (key ? `seals with key ${key.keyId}` : "seals nothing: it has no --audit-key")],
    ],
    paint,
  );
}

function bundleJson({ agreesWith: _, ...bundle }: CheckedBundle) {
  return bundle;
}

function bundleText(
  file: string,
  { tenant, first, last, operations, head, exportedAt }: CheckedBundle,
): string {
  if (last < first) return `${file}: tenant ${tenant}, nothing was sealed by ${exportedAt}`;
  return `${file}: tenant ${tenant}, seals ${first} to ${last}, ${operations} changes of operators, exported ${exportedAt}, head ${last}:${head}`;
}
