// nodemailer's pool as its documentation shows it: sendMail when the transport says that it is idle.
// usage: nodemailer_pool.js PORT MESSAGES SESSIONS SIZE
// It is found by NODE_PATH.
"use strict";

const nodemailer = require("nodemailer");

const [port, messages, sessions, size] = process.argv.slice(2).map(Number);
const LINE = "x".repeat(70) + "\r\n";
const HEAD = 291; // bytes that nodemailer puts before the text

const transport = nodemailer.createTransport({
    host: "127.0.0.1",
    port,
    secure: false,
    ignoreTLS: true,
    pool: true,
    maxConnections: sessions,
    maxMessages: Infinity,
});
const message = {
    from: "sender@sendbench.example",
    to: "recipient@sendbench.example",
    subject: "sendbench",
    text: LINE.repeat(Math.ceil(size / LINE.length)).slice(0, size - HEAD),
};

let started = 0;
let answered = 0;

function sendWhileIdle() {
    while (started < messages && transport.isIdle()) {
        started += 1;
        transport.sendMail(message, (error) => {
            if (error) {
                console.error(error.message);
                process.exit(1);
            }
            answered += 1;
            if (answered === messages) {
                transport.close();
            }
        });
    }
}

transport.on("idle", sendWhileIdle);
