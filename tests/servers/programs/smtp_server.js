// npm's smtp-server with STARTTLS and AUTH required. One JSON object as its argument says where and as whom:
// {"modules", "port", "cert", "key", "user", "password", "refused", "folder"}. Every message that it
// takes becomes a file in `folder`, complete from the moment it can be seen.
"use strict";

const fs = require("fs");
const path = require("path");

const settings = JSON.parse(process.argv[2]);
const { SMTPServer } = require(path.join(settings.modules, "smtp-server"));

let taken = 0;

function refuse(text, code) {
  return Object.assign(new Error(text), { responseCode: code });
}

const server = new SMTPServer({
  cert: fs.readFileSync(settings.cert),
  key: fs.readFileSync(settings.key),
  authMethods: ["PLAIN", "LOGIN"],
  disableReverseLookup: true,
  onAuth(auth, session, callback) {
    const known = auth.username === settings.user && auth.password === settings.password;
    callback(known ? null : refuse("no such user", 535), known ? { user: auth.username } : undefined);
  },
  onRcptTo(address, session, callback) {
    callback(address.address === settings.refused ? refuse("not here", 550) : null);
  },
  onData(stream, session, callback) {
    const chunks = [];
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("end", () => {
      taken += 1;
      const name = path.join(settings.folder, String(taken));
      fs.writeFileSync(name + ".part", Buffer.concat(chunks));
      fs.renameSync(name + ".part", name);
      callback();
    });
  },
});
server.on("error", (error) => console.error(error.message));
server.listen(settings.port, "127.0.0.1");
