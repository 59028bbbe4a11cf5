// The contract as an Express application.
"use strict";

const express = require("express");

const app = express();

app.all("/status/:code", (request, response) => response.status(Number(request.params.code)).end());

app.get("/sleep/:milliseconds", (request, response) => {
  setTimeout(() => response.send("slept\n"), Number(request.params.milliseconds));
});

app.get("/bytes/:count", (request, response) => response.send("x".repeat(Number(request.params.count))));

const echo = [express.raw({ type: "*/*" }), (request, response) => response.send(request.body)];
app.post("/echo", echo);
app.put("/echo", echo);

app.listen(Number(process.env.PORT), process.env.HOST);
