// Bare node:http: reads the body and sends bytes that are ready. What nothing on Node's http can beat.
import { createServer } from "node:http";

const bodies = JSON.parse(process.env.BODIES);
const ready = new Map(Object.entries(bodies).map(([path, text]) => [path, Buffer.from(text)]));
const server = createServer((request, response) => {
  request.on("data", () => {});
  request.on("end", () => {
    const body = ready.get(request.url);
    response.writeHead(200, { "content-type": "application/json; charset=utf-8", "content-length": body.length });
    response.end(body);
  });
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
