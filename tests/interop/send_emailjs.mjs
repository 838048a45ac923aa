// Sends what order.json says through the client of mail.mjs; both are in the working folder.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { body, client } = await import(pathToFileURL(resolve("mail.mjs")));
const order = JSON.parse(readFileSync("order.json", "utf8"));
const address = ({ name, address }) => `${name} <${address}>`;
for (const { to, subject, text, file, filename } of order.messages) {
  const attachment = file ? [{ path: file, name: filename, type: "application/octet-stream" }] : [];
  await client.sendAsync({ from: address(order.from), to: address(to), subject, text: body(text), attachment });
}
client.smtp.close();
