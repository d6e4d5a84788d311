import { expect, test } from "vitest";
import { plainPaint, terminalPaint } from "./paint.js";
import { formatFields, formatRows, formatTable } from "./table.js";

test("columns are aligned and lines carry no trailing blanks", () => {
  const text = formatTable(
    ["A", "LONGER"],
    [
      ["wide cell", "x"],
      ["y", ""],
    ],
    plainPaint,
  );
  expect(text.split("\n")).toEqual(["A          LONGER", "wide cell  x", "y"]);
});

test("colours do not count as width", () => {
  const [first = "", second = ""] = formatRows([
    [terminalPaint.bad("ab"), "x"],
    ["abcd", "y"],
  ]).split("\n");
  expect(first.replaceAll("\u001b[31m", "").replaceAll("\u001b[39m", "")).toBe("ab    x");
  expect(second).toBe("abcd  y");
});

test("absent fields are left out", () => {
  expect(
    formatFields(
      [
        ["a", "1"],
        ["long name", undefined],
        ["b", "2"],
      ],
      plainPaint,
    ),
  ).toBe("a  1\nb  2");
});

test("no rows are no lines", () => {
  expect(formatRows([])).toBe("");
});
