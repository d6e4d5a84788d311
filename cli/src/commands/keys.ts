import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type ApiKey, ApiKeySchema } from "@holdfast/gen/holdfast/v1/access_service_pb";
import type { Command } from "commander";
import { collectWords } from "../arguments/list.js";
import { parseTime } from "../arguments/time.js";
import { CliError } from "../cli-error.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { relative, time } from "../job-text.js";
import { type JustificationFlags, justification, withOptionalReason } from "../justification-options.js";
import { takeItems } from "../pages.js";
import type { Paint } from "../paint.js";
import { formatFields } from "../table.js";
import { writeItems } from "./item-list.js";

const SCOPES =
  "jobs:submit, jobs:read, jobs:cancel, jobs:operate, workers:attach, effects:claim, signals:publish, signals:subscribe, signals:read, signals:operate, limits:operate, fleet:read, audit:read, access:admin";

const AFTER_HELP = `
While the ledger holds no key, everybody on this machine may do everything. The first key ends that, and must
have the scope access:admin.

Examples:
  $ holdfast keys create --subject ops --scope access:admin,jobs:read,fleet:read
  $ holdfast keys create --subject line-3 --scope workers:attach --kind press.measure --expires +90d
  $ holdfast keys list
  $ holdfast keys revoke 4k2m9x0a7c1d --reason "the laptop was lost" --ticket SEC-9`;

interface CreateFlags extends Partial<JustificationFlags> {
  readonly subject: string;
  readonly scope: readonly string[];
  readonly kind?: readonly string[];
  readonly tenant?: string;
  readonly expires?: Date;
}

export function addKeysCommand(program: Command, cli: Cli): void {
  const keys = program
    .command("keys")
    .description("create, list and revoke API keys")
    .addHelpText("after", AFTER_HELP);

  withOptionalReason(keys.command("create").description("make a key; its secret is shown once"))
    .requiredOption("--subject <name>", "who uses it")
    .requiredOption("--scope <scopes>", `what it may do: ${SCOPES}`, collectWords)
    .option("--kind <kinds>", "job kinds it is limited to; all when absent", collectWords)
    .option("--tenant <tenant>", "tenant it acts for; the caller's when absent")
    .option("--expires <time>", "when it ends: 2027-01-31T14:00:00Z, or +90d", (text) => parseTime(text))
    .addHelpText("after", AFTER_HELP)
    .action((flags: CreateFlags, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { key, apiKey } = await connection().access.createKey({
          subject: flags.subject,
          scopes: [...flags.scope],
          kinds: [...(flags.kind ?? [])],
          tenant: flags.tenant ?? "",
          justification: justification(flags),
          ...(flags.expires === undefined ? {} : { expiresAt: timestampFromDate(flags.expires) }),
        });
        const made = requireKey(key);
        output.document({ key: keyJson(made), apiKey }, () =>
          [
            keyText(made, io.nowMs(), output.paint),
            "",
            `${output.paint.strong(apiKey)}`,
            "",
            "Keep it now: it cannot be shown again. Pass it as HOLDFAST_API_KEY.",
          ].join("\n"),
        );
        return EXIT.ok;
      }),
    );

  keys
    .command("list")
    .description("list the keys of a tenant, revoked ones included")
    .option("--tenant <tenant>", "whose keys; the caller's when absent")
    .action((flags: { readonly tenant?: string }, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { access } = connection();
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await access.listKeys({ ...page, tenant: flags.tenant ?? "" });
          return { items: answer.keys, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: ["KEY", "SUBJECT", "SCOPES", "KINDS", "CREATED", "STATE"],
          row: (key) => keyRow(key, io.nowMs(), output.paint),
          json: keyJson,
          nothing:
            flags.tenant === undefined
              ? "There are no keys: everybody on the hub's machine may do everything."
              : `Tenant ${flags.tenant} has no keys.`,
        });
        return EXIT.ok;
      }),
    );

  withOptionalReason(keys.command("revoke").description("revoke a key, and end the streams that use it"))
    .argument("<key id>", "public part of the key, 12 characters")
    .action((keyId: string, flags: Partial<JustificationFlags>, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const request = { keyId, justification: justification(flags) };
        const key = requireKey((await connection().access.revokeKey(request)).key);
        output.document({ key: keyJson(key) }, () => keyText(key, io.nowMs(), output.paint));
        return EXIT.ok;
      }),
    );
}

function keyJson(key: ApiKey): JsonValue {
  return toJson(ApiKeySchema, key, JSON_OPTIONS);
}

function keyRow(key: ApiKey, nowMs: number, paint: Paint): string[] {
  return [
    key.keyId,
    key.subject,
    key.scopes.join(","),
    key.kinds.join(",") || "all",
    relative(key.createdAt, nowMs),
    keyState(key, nowMs, paint),
  ];
}

function keyState(key: ApiKey, nowMs: number, paint: Paint): string {
  if (key.revokedAt !== undefined) {
    return paint.bad(`revoked ${relative(key.revokedAt, nowMs)}`);
  }
  if (key.expiresAt === undefined) {
    return paint.good("good");
  }
  const isExpired = Number(key.expiresAt.seconds) * 1_000 <= nowMs;
  const when = relative(key.expiresAt, nowMs);
  return isExpired ? paint.bad(`expired ${when}`) : paint.good(`good, ends ${when}`);
}

function keyText(key: ApiKey, nowMs: number, paint: Paint): string {
  return formatFields(
    [
      ["key", key.keyId],
      ["tenant", key.tenant],
      ["subject", key.subject],
      ["scopes", key.scopes.join(", ")],
      ["kinds", key.kinds.join(", ") || "all"],
      ["created", time(key.createdAt, nowMs)],
      ["state", keyState(key, nowMs, paint)],
    ],
    paint,
  );
}

function requireKey(key: ApiKey | undefined): ApiKey {
  if (key === undefined) {
    throw new CliError("The hub answered without a key.", {
      exitCode: EXIT.unexpected,
      reason: "EMPTY_ANSWER",
    });
  }
  return key;
}
