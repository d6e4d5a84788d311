import type { Command } from "commander";

export interface JustificationFlags {
  readonly reason: string;
  readonly ticket?: string;
}

/** The options by which an operator says why; kept with the change. */
export function withReason(command: Command): Command {
  return command
    .requiredOption("--reason <text>", "why; it is kept with the change")
    .option("--ticket <text>", "where it was agreed on");
}

/** The same where nobody has to say why. */
export function withOptionalReason(command: Command): Command {
  return command
    .option("--reason <text>", "why; it is kept with the change")
    .option("--ticket <text>", "where it was agreed on");
}

/** The same where an audit asks for both. */
export function withReasonAndTicket(command: Command): Command {
  return command
    .requiredOption("--reason <text>", "why; it is kept with the change")
    .requiredOption("--ticket <text>", "where it was agreed on");
}

export function justification({ reason, ticket }: Partial<JustificationFlags>) {
  return { reason: reason ?? "", ticket: ticket ?? "" };
}
