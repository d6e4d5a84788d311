import { Models, SPDX } from "@cyclonedx/cyclonedx-library";

const TOKEN = /\(|\)|[^\s()]+/g;
const REFERENCE = /^(DocumentRef-[\w.-]+:)?LicenseRef-[\w.-]+$/;

/**
 * The licence of a component, as exactly as what was declared allows: an SPDX id, an SPDX expression, or a name
 * for people. A package that declares nothing but ships a licence file points at the file.
 */
export function componentLicence(
  declared: string | undefined,
  licenceFile: string | undefined,
): Models.License | undefined {
  if (declared === undefined) {
    return licenceFile === undefined ? undefined : new Models.NamedLicense(`SEE LICENSE IN ${licenceFile}`);
  }
  const id = SPDX.fixupSpdxId(declared);
  if (id !== undefined) {
    return new Models.SpdxLicense(id);
  }
  return isExpression(declared) ? new Models.LicenseExpression(declared) : new Models.NamedLicense(declared);
}

/** Whether a text is an SPDX expression: licence ids joined by AND, OR and WITH, with balanced parentheses. */
export function isExpression(text: string): boolean {
  let depth = 0;
  let wantsOperand = true;
  let isException = false;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "(" && wantsOperand && !isException) {
      depth += 1;
    } else if (token === ")" && !wantsOperand && depth > 0) {
      depth -= 1;
    } else if (wantsOperand && (isException || isOperand(token))) {
      wantsOperand = false;
      isException = false;
    } else if (!wantsOperand && (token === "AND" || token === "OR" || token === "WITH")) {
      wantsOperand = true;
      isException = token === "WITH";
    } else {
      return false;
    }
  }
  return depth === 0 && !wantsOperand;
}

function isOperand(token: string): boolean {
  return (
    SPDX.isSupportedSpdxId(token.replace(/\+$/, "")) || SPDX.isSupportedSpdxId(token) || REFERENCE.test(token)
  );
}
