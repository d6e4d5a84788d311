import { toJson } from "@bufbuild/protobuf";
import { SessionSchema } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { relative } from "../job-text.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
Examples:
  $ holdfast sessions
  $ holdfast sessions --json | jq -r .workerName`;

export function addSessionsCommand(program: Command, cli: Cli): void {
  program
    .command("sessions")
    .description("list the live sessions of workers, on any hub")
    .addHelpText("after", AFTER_HELP)
    .action((_flags: object, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { fleet } = connection();
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await fleet.listSessions(page);
          return { items: answer.sessions, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: [
            "SESSION",
            "WORKER",
            "SUBJECT",
            "KINDS",
            "CAPABILITIES",
            "ATTACHED",
            "EXPIRES",
            "HUB",
            "STATE",
          ],
          row: (session) => [
            session.sessionId,
            session.workerName,
            session.subject || "-",
            session.kinds.join(","),
            session.capabilities.join(",") || "-",
            relative(session.attachedAt, io.nowMs()),
            relative(session.expiresAt, io.nowMs()),
            String(session.writerId),
            session.isDraining ? output.paint.warn("draining") : output.paint.good("live"),
          ],
          json: (session) => toJson(SessionSchema, session, JSON_OPTIONS),
          nothing: "No worker is attached: `holdfast worker scan` runs one.",
        });
        return EXIT.ok;
      }),
    );
}
