// Sends what order.properties says with Jakarta Mail, through Mail.session(); the file is in the working folder.
import jakarta.mail.Message;
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.InternetAddress;
import jakarta.mail.internet.MimeBodyPart;
import jakarta.mail.internet.MimeMessage;
import jakarta.mail.internet.MimeMultipart;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;

public final class SendJakarta {
    private static InternetAddress address(Properties order, String prefix) throws Exception {
        return new InternetAddress(order.getProperty(prefix + ".address"), order.getProperty(prefix + ".name"), "UTF-8");
    }

    public static void main(String[] arguments) throws Exception {
        Properties order = new Properties();
        order.load(Files.newBufferedReader(Path.of("order.properties"), StandardCharsets.UTF_8));
        Session session = Mail.session();
        for (int i = 0; order.getProperty(i + ".subject") != null; i++) {
            MimeMessage message = new MimeMessage(session);
            message.setFrom(address(order, "from"));
            message.setRecipient(Message.RecipientType.TO, address(order, i + ".to"));
            message.setSubject(order.getProperty(i + ".subject"), "UTF-8");
            String file = order.getProperty(i + ".file");
            if (file == null) {
                message.setText(order.getProperty(i + ".text"), "UTF-8");
            } else {
                MimeBodyPart text = new MimeBodyPart(), attachment = new MimeBodyPart();
                text.setText(order.getProperty(i + ".text"), "UTF-8");
                attachment.attachFile(file, "application/octet-stream", "base64");
                attachment.setFileName(order.getProperty(i + ".filename"));
                message.setContent(new MimeMultipart(text, attachment));
            }
            Transport.send(message);
        }
    }
}
