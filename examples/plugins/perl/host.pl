# The perl plugin's host: runs one service and speaks docs/host-protocol.md.
# A service is a file of subs; `start`, `health` and `close` are its hooks, the others are its methods.
use strict;
use warnings;
use Cwd qw(getcwd);
use JSON::PP ();

$| = 1;
open(my $channel, '+<&=', $ENV{ORCHESTRATOR_HOST_FD}) or die "ORCHESTRATOR_HOST_FD: $!";
$channel->autoflush(1);

sub say_ { print {$channel} JSON::PP->new->canonical->encode({@_}), "\n" }

# "no db at main.pl line 2." is a message and a place.
sub describe {
    my ($message, $stack) = ("$_[0]", '');
    ($message, $stack) = ($1, "at $2:$3") if $message =~ /^(.*?) at (\S+) line (\d+)/s;
    return {name => 'Error', message => $message, stack => $stack};
}

sub fail { say_(type => $_[0], error => describe($_[1])); exit 1 }

sub hook { my $sub = Service->can($_[0]); return $sub ? $sub->() : 1 }

# Runs the file in a package of its own, under its name relative to the folder of the code.
sub load {
    my ($path) = @_;
    my $name = $path =~ s{^\Q@{[getcwd()]}\E/}{}r;
    open(my $file, '<', $path) or die "$path: $!";
    my $source = do { local $/; <$file> };
    push @INC, getcwd();
    eval "package Service;\n#line 1 \"$name\"\n$source\n;1" or die $@;
}

sub methods {
    no strict 'refs';
    return grep { defined &{"Service::$_"} && !/^(start|health|close|BEGIN|_.*)$/ } sort keys %Service::;
}

sub answer_health {
    my $well = eval { hook('health') };
    my $failure = $@ ? 'health() threw Error: ' . describe($@)->{message} : $well ? undef : 'health() returned false';
    say_(type => 'health', id => $_[0], failure => $failure);
}

sub end { eval { hook('close'); 1 } or fail('exception', $@); exit 0 }

eval { load($ARGV[0]); hook('start'); 1 } or fail('failed', $@);
say_(type => 'started', methods => [methods()], health => Service->can('health') ? JSON::PP::true : JSON::PP::false);
end() if ($ENV{ORCHESTRATOR_KIND} // '') eq 'job';
while (my $line = <$channel>) {
    my $message = JSON::PP::decode_json($line);
    read($channel, my $payload, $message->{payload}) if $message->{payload};
    answer_health($message->{id}) if $message->{type} eq 'health';
    end() if $message->{type} eq 'close';
}
exit 1;
