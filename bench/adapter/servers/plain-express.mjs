// Plain Express with its own JSON parser, sending the same bytes.
import express from "express";

const bodies = JSON.parse(process.env.BODIES);
const app = express();
app.use(express.json());
for (const [path, text] of Object.entries(bodies)) {
  const body = Buffer.from(text);
  app.post(path, (_request, response) => {
    response.type("application/json").send(body);
  });
}
const server = app.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
