import assert from "node:assert/strict";
import { test } from "node:test";
import { committedHash } from "../scripts/committed-build.ts";
import { sourcesHash } from "../scripts/compile.ts";

const RENEW = "node contracts/scripts/build.ts --write";

test("the committed build is of these sources, settings and packages", () => {
  assert.equal(committedHash(), sourcesHash(), RENEW);
});

test(
  "the compiler makes exactly what is committed",
  {
    skip: process.env.BIJULI_DEEP === "1" ? false : "compiles everything anew: test:deep",
  },
  async () => {
    const { isWhatTheCompilerMakes } = await import("../scripts/build.ts");
    assert.equal(await isWhatTheCompilerMakes(), true, RENEW);
  },
);
