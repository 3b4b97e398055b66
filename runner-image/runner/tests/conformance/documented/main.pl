my %stock;

sub start { $stock{apple} = 3 }
sub level { return $stock{$_[0]} // 0 }
sub health { return %stock > 0 }
sub close { print "closing\n" }
