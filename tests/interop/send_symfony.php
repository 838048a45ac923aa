<?php
// Sends what order.json says with Symfony Mailer as the file .env says, in Symfony's or Laravel's words; both files are in the
// working folder.
require 'Symfony/Component/Mailer/autoload.php';

use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mailer\Transport\Dsn;
use Symfony\Component\Mailer\Transport\Smtp\EsmtpTransportFactory;
use Symfony\Component\Mime\Address;
use Symfony\Component\Mime\Email;

$env = [];
foreach (file('.env', FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) as $line) {
    if ($line[0] !== '#') {
        [$name, $value] = explode('=', $line, 2);
        $env[$name] = trim($value, '"');
    }
}
// The second is what Illuminate\Mail\MailManager does.
$transport = isset($env['MAILER_DSN'])
    ? Transport::fromDsn($env['MAILER_DSN'])
    : (new EsmtpTransportFactory())->create(new Dsn(
        $env['MAIL_SCHEME'], $env['MAIL_HOST'], $env['MAIL_USERNAME'], $env['MAIL_PASSWORD'], (int) $env['MAIL_PORT']));
$mailer = new Mailer($transport);

$order = json_decode(file_get_contents('order.json'), true);
foreach ($order['messages'] as $one) {
    $mail = (new Email())
        ->from(new Address($order['from']['address'], $order['from']['name']))
        ->to(new Address($one['to']['address'], $one['to']['name']))
        ->subject($one['subject'])
        ->text($one['text']);
    if ($one['file']) {
        $mail->attachFromPath($one['file'], $one['filename'], 'application/octet-stream');
    }
    $mailer->send($mail);
}
