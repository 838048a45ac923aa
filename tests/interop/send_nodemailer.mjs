// Sends what order.json says through the transport of mail.mjs; both are in the working folder.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { transport } = await import(pathToFileURL(resolve("mail.mjs")));
const order = JSON.parse(readFileSync("order.json", "utf8"));
for (const { to, subject, text, file, filename } of order.messages) {
  const attachments = file ? [{ path: file, filename }] : [];
  await transport.sendMail({ from: order.from, to, subject, text, attachments });
}
transport.close();
