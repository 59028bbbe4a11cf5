// The application of contract.py in Express, as people instrument it with express-prom-bundle, method and path on.
"use strict";

const express = require("express");
const promBundle = require("express-prom-bundle");

const PAUSE = 150;
const SLOW = 470;
const SLOWER = 1600;

const app = express();
app.use(promBundle({ includeMethod: true, includePath: true }));
// Every request takes so long at least: its duration is far from every bound, whoever measures it.
app.use((request, response, next) => setTimeout(next, PAUSE));

app
  .route("/items/:id")
  .get((request, response) => {
    const id = Number(request.params.id);
    if (id > 100) {
      response.status(404).json({ detail: "unknown item" });
    } else {
      response.json({ id });
    }
  })
  .delete((request, response) => response.status(204).end());
app
  .route("/items")
  .post(express.json(), (request, response) => response.status(201).json(request.body))
  .put(express.json(), (request, response) => response.json(Object.keys(request.body).length));
app.get("/refused", (request, response) => response.sendStatus(403));
app.get("/moved", (request, response) => response.redirect("/items/1"));
app.get("/boom", () => {
  throw new Error("boom");
});
app.get("/busy", (request, response) => response.status(503).send("busy\n"));
app.get("/slow", (request, response) => setTimeout(() => response.send("slow"), SLOW));
app.get("/slower", (request, response) => setTimeout(() => response.send("slower"), SLOWER));
// The client does not wait for this one.
app.get("/left", (request, response) => setTimeout(() => response.send("left"), SLOWER));
app.get("/stream", (request, response) => {
  response.write("a".repeat(1000));
  setTimeout(() => response.end("b".repeat(1000)), SLOW);
});
app.get("/head", (request, response) => response.send("h".repeat(500)));
app.get("/dropped", (request) => request.socket.destroy());
app.get("/at/:day/:commit", (request, response) => response.send("then"));

app.listen(Number(process.env.PORT), "127.0.0.1");
