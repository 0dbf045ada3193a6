/**
 * JSON for a jsonb parameter. PostgreSQL stores neither U+0000 nor half a surrogate pair: what an adapter or a request put
 * there is shown as U+FFFD, so that its run can still be written down.
 */
export function jsonb(value: unknown): string {
  return JSON.stringify(value).replace(/\\(?:u0000|ud[89a-f][0-9a-f]{2}|[\s\S])/g, (sequence) =>
    /^\\u(?:0000|d[89a-f])/.test(sequence) ? "\\ufffd" : sequence,
  );
}
