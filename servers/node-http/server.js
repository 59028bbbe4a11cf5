// The contract on Node's own http module.
"use strict";

const http = require("node:http");

const server = http.createServer((request, response) => {
  const [, name, argument] = request.url.split("?")[0].split("/");
  switch (name) {
    case "status":
      request.resume();
      response.writeHead(Number(argument)).end();
      break;
    case "sleep":
      setTimeout(() => response.end("slept\n"), Number(argument));
      break;
    case "bytes":
      response.end("x".repeat(Number(argument)));
      break;
    case "echo":
      request.pipe(response);
      break;
    default:
      response.writeHead(404).end();
  }
});

server.listen(Number(process.env.PORT), process.env.HOST);
