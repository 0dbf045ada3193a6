import { timingSafeEqual } from "node:crypto";
import type { NextFunction, Request, Response } from "express";

/** Lets in who brings the token: as a bearer, or as the password of HTTP's basic scheme, which browsers ask for. */
export function authentication(token: string | undefined) {
  return (request: Request, response: Response, next: NextFunction) => {
    if (token === undefined) return next();
    const header = request.headers.authorization ?? "";
    const basic = /^Basic (.+)$/.exec(header)?.[1];
    const given =
      basic === undefined
        ? header.replace(/^Bearer /, "")
        : Buffer.from(basic, "base64")
            .toString("utf8")
            .replace(/^[^:]*:/, "");
    const [a, b] = [Buffer.from(given), Buffer.from(token)];
    if (a.length === b.length && timingSafeEqual(a, b)) return next();
    response
      .set("www-authenticate", 'Basic realm="node"')
      .status(401)
      .json({ error: { name: "unauthorized", message: "a token is wanted" } });
  };
}
