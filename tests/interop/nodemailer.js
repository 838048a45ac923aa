// Sends one message with nodemailer: node nodemailer.js '{"transport": …, "message": …}'; prints the server's last reply.
const nodemailer = require(process.env.NODEMAILER || "nodemailer");
const { transport, message } = JSON.parse(process.argv[2]);
nodemailer
  .createTransport(transport)
  .sendMail(message)
  .then((info) => console.log(JSON.stringify({ response: info.response, accepted: info.accepted })))
  .catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
