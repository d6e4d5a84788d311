import { Models } from "@cyclonedx/cyclonedx-library";
import { describe, expect, test } from "vitest";
import { componentLicence, isExpression } from "./licence.js";

describe("an SPDX expression", () => {
  test.each([
    "MIT OR Apache-2.0",
    "(MIT OR Apache-2.0)",
    "(MIT AND (BSD-3-Clause OR ISC))",
    "GPL-2.0-or-later WITH Classpath-exception-2.0",
    "LicenseRef-Own OR MIT",
    "GPL-2.0+ OR MIT",
  ])("%s is one", (text) => {
    expect(isExpression(text)).toBe(true);
  });

  test.each([
    "",
    "Do what you like",
    "MIT OR",
    "OR MIT",
    "(MIT OR ISC",
    "MIT) OR (ISC",
    "MIT ISC",
    "MIT or ISC",
    "()",
    "SEE LICENSE IN LICENSE.md",
  ])('"%s" is none', (text) => {
    expect(isExpression(text)).toBe(false);
  });
});

test("a licence is written as exactly as what was declared allows", () => {
  expect(componentLicence("MIT", undefined)).toBeInstanceOf(Models.SpdxLicense);
  expect(componentLicence("MIT OR ISC", undefined)).toBeInstanceOf(Models.LicenseExpression);
  expect(componentLicence("Own terms", "LICENSE")).toMatchObject({ name: "Own terms" });
  expect(componentLicence(undefined, "LICENSE")).toMatchObject({ name: "SEE LICENSE IN LICENSE" });
  expect(componentLicence(undefined, undefined)).toBeUndefined();
});
