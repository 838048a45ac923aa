# Sends the files order.json names with Net::SMTP, through mail_session of mail.pl; both are in the working folder.
use strict;
use warnings;
use JSON::PP;

require './mail.pl';

sub contents {
    my ($name) = @_;
    open my $file, '<:raw', $name or die "$name: $!\n";
    local $/;
    return <$file>;
}

my $order = decode_json(contents('order.json'));
my $smtp = mail_session();
for my $one (@{$order->{messages}}) {
    my $taken = $smtp->mail($order->{from}{address}) && $smtp->to($one->{to}{address}) && $smtp->data
        && $smtp->datasend(contents($one->{eml})) && $smtp->dataend;
    die $smtp->message unless $taken;
}
$smtp->quit;
