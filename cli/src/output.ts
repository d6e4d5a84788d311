import type { JsonValue } from "@bufbuild/protobuf";
import type { CliError } from "./cli-error.js";
import type { Io } from "./io.js";
import { type Paint, plainPaint, terminalPaint } from "./paint.js";

// What a command says. With --json, stdout carries JSON and nothing else: one document, or for a command that
// yields many things one line for each. Everything that is not the answer goes to stderr, and with --json
// only errors do.

export interface Output {
  readonly isJson: boolean;
  readonly paint: Paint;
  /** The whole answer of a command. */
  document(value: JsonValue, text: () => string): void;
  /** One of many answers, with --json only; people get it as `line`. */
  item(value: JsonValue): void;
  /** Text for people only. */
  line(text: string): void;
  /** A remark beside the answer, for people only. */
  remark(text: string): void;
  error(error: CliError): void;
}

export function createOutput(io: Io, isJson: boolean): Output {
  const hasColour = (stream: { readonly isTTY?: boolean }) => stream.isTTY === true && !io.env.NO_COLOR;
  const paint = !isJson && hasColour(io.stdout) ? terminalPaint : plainPaint;
  const errorPaint = !isJson && hasColour(io.stderr) ? terminalPaint : plainPaint;
  const write = (text: string) => void io.stdout.write(`${text}\n`);
  return {
    isJson,
    paint,
    document: (value, text) => write(isJson ? JSON.stringify(value, undefined, 2) : text()),
    item: (value) => (isJson ? write(JSON.stringify(value)) : undefined),
    line: (text) => (isJson ? undefined : write(text)),
    remark: (text) => (isJson ? undefined : void io.stderr.write(`${text}\n`)),
    error: (error) =>
      void io.stderr.write(`${isJson ? JSON.stringify(errorJson(error)) : errorText(error, errorPaint)}\n`),
  };
}

function errorJson(error: CliError): JsonValue {
  return {
    error: {
      reason: error.reason,
      message: error.message,
      exitCode: error.exitCode,
      metadata: { ...error.metadata },
      ...(error.next === undefined ? {} : { next: error.next }),
    },
  };
}

function errorText(error: CliError, paint: Paint): string {
  const reason = error.reason === "USAGE" ? "" : `${error.reason}: `;
  const lines = [`${paint.bad("holdfast:")} ${reason}${error.message}`];
  for (const [key, value] of Object.entries(error.metadata)) {
    lines.push(`  ${paint.faint(`${key}:`)} ${value}`);
  }
  if (error.next !== undefined) {
    lines.push(`  ${paint.faint("next:")} ${error.next}`);
  }
  return lines.join("\n");
}
