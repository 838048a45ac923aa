<?php
// Sends what order.json says with PHPMailer as mail.php sets it up, by new_mail() or in the hooks of WordPress; both files are in
// the working folder.
require 'libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\PHPMailer;

$hooks = [];

function add_action(string $name, callable $function): void
{
    $GLOBALS['hooks'][$name] = $function;
}

function add_filter(string $name, callable $function): void
{
    add_action($name, $function);
}

require getcwd() . '/mail.php';

$order = json_decode(file_get_contents('order.json'), true);
foreach ($order['messages'] as $one) {
    $from = $order['from']['address'];
    if ($hooks) {  // what wp_mail() does
        $mail = new PHPMailer(true);
        $from = $hooks['wp_mail_from']('wordpress@localhost');
        $mail->CharSet = 'UTF-8';
        $hooks['phpmailer_init']($mail);
    } else {
        $mail = new_mail();
    }
    $mail->setFrom($from, $order['from']['name'], false);
    $mail->addAddress($one['to']['address'], $one['to']['name']);
    $mail->Subject = $one['subject'];
    $mail->Body = $one['text'];
    if ($one['file']) {
        $mail->addAttachment($one['file'], $one['filename']);
    }
    $mail->send();
}
