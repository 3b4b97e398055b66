//! [`shown`]: what a command writes where a person looks at it, on a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Everything that a command writes on a terminal of this many columns, to its end.
pub(crate) fn shown(mut command: Command, columns: u16) -> String {
    let (ours, theirs) = terminal(columns);
    let output = || Stdio::from(theirs.try_clone().expect("it can be cloned"));
    let mut child = command.stdout(output()).stderr(output()).spawn().expect("it can be run");
    // Only the command still has the other end, so its end is the end of this.
    drop((command, theirs));
    let mut shown = Vec::new();
    let mut chunk = [0; 4096];
    let mut ours = File::from(ours);
    while let Ok(count @ 1..) = ours.read(&mut chunk) {
        shown.extend_from_slice(&chunk[..count]);
    }
    child.wait().expect("it can be waited for");
    String::from_utf8(shown).expect("it writes text")
}

/// A terminal: this side of it, and the other.
fn terminal(columns: u16) -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let theirs = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it can be opened");
    let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size).expect("it can be given a size");
    (ours, theirs)
}
