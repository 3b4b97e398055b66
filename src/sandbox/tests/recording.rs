//! What a recorded process does is noted, whatever it is, and done.

#![expect(clippy::unwrap_used, reason = "the helpers of tests, too, may fail by panicking")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;

use orchestrator_sandbox::recording::{Noted, Recorder, Use};
use orchestrator_sandbox::spawn::{Launch, Program, SpawnError};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// What a shell wrote that ran this in a folder, and what was noted of it.
fn recorded(program: &str, arguments: &[&str], folder: &Path) -> (String, Noted) {
    let (mut reader, writer) = io::pipe().unwrap();
    let null = File::open("/dev/null").unwrap();
    let launch = Launch {
        program: Program::Path(Path::new(program)),
        arguments: [&[program], arguments].concat().iter().map(Into::into).collect(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        folder: Some(folder),
        descriptors: vec![null.as_fd(), writer.as_fd(), writer.as_fd()],
        die_with_parent: true,
        groups: &[],
        confinement: None,
    };
    let recorder = Recorder::default();
    let child = launch.spawn_recorded(&recorder).unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
    (text, recorder.take())
}

#[test]
fn files_programs_and_processes_are_noted_and_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().canonicalize().unwrap();
    fs::write(here.join("in"), "good day\n").unwrap();
    fs::create_dir(here.join("list")).unwrap();
    fs::write(here.join("old"), "").unwrap();
    std::os::unix::fs::symlink(here.join("in"), here.join("link")).unwrap();
    let script = "cat link > new; ls list; echo more >> old; mkdir made; mv new made/new; cat made/new; \
                  cat nowhere 2> /dev/null; rm -f nowhere";
    let (text, Noted { uses, lost }) = recorded("/bin/sh", &["-c", script], &here);
    assert_eq!((text.as_str(), lost), ("good day\n", 0));
    let at = |name: &str| here.join(name);
    for expected in [
        Use::Read(at("in")),
        Use::Link { from: at("link"), to: at("in") },
        Use::Make(at("new")),
        Use::List(at("list")),
        Use::Write(at("old")),
        Use::Make(at("made")),
        Use::Make(at("made/new")),
        Use::Run(Path::new("/bin/cat").canonicalize().unwrap()),
        Use::Process,
    ] {
        assert!(uses.contains(&expected), "{expected:?} in {uses:?}");
    }
    let nowhere = |used: &Use| format!("{used:?}").contains("nowhere");
    assert!(!uses.iter().any(nowhere), "what is not there is not used: {uses:?}");
}

#[test]
fn connections_are_noted_and_made() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let script = format!("exec 3<> /dev/tcp/127.0.0.1/{} && echo made", to.port());
    let (text, Noted { uses, .. }) = recorded("/bin/bash", &["-c", &script], Path::new("/"));
    assert_eq!(text, "made\n");
    assert!(uses.contains(&Use::Connect(to)), "{uses:?}");
}

#[test]
fn a_program_that_cannot_be_run_is_told_as_without_a_recorder() {
    let null = File::open("/dev/null").unwrap();
    let launch = Launch {
        program: Program::Path(Path::new("/nowhere/program")),
        arguments: vec!["program".into()],
        environment: Vec::new(),
        folder: None,
        descriptors: vec![null.as_fd(); 3],
        die_with_parent: true,
        groups: &[],
        confinement: None,
    };
    let error = launch.spawn_recorded(&Recorder::default()).unwrap_err();
    assert!(matches!(&error, SpawnError::Program(why) if why.kind() == io::ErrorKind::NotFound), "{error:?}");
}

#[test]
fn a_kernel_that_cannot_tell_is_named() {
    let error = SpawnError::Recording(io::ErrorKind::InvalidInput.into());
    assert_eq!(
        error.to_string(),
        "this kernel cannot tell what a process uses (seccomp user notification, Linux 5.6 or later, is needed)"
    );
}

#[test]
fn names_that_are_looked_up_are_told_from_other_datagrams() {
    let python =
        ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| Path::new(path).exists());
    let Some(python) = python else {
        println!("skipped: names that are looked up need python3, which is not here");
        return;
    };
    let script = r"
import socket
query = bytes([7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + b'\x03api\x07example\x00\x00\x01\x00\x01'
asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asks.connect(('127.0.0.1', 53))
asks.send(query)
tells = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
tells.sendmsg([query.replace(b'api', b'www')], [], 0, ('127.0.0.1', 53))
tells.sendto(query, ('127.0.0.1', 9))
tells.sendto(b'a datagram', ('127.0.0.1', 10))
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1])
";
    let (text, Noted { uses, lost }) = recorded(python, &["-c", script], Path::new("/"));
    let port = text.trim().parse().unwrap();
    let net =
        |used: &Use| matches!(used, Use::Lookup(_) | Use::Datagram(_) | Use::Connect(_) | Use::Listen(_));
    let uses: Vec<_> = uses.into_iter().filter(net).collect();
    let expected = [
        Use::Lookup("api.example".into()),
        Use::Lookup("www.example".into()),
        Use::Datagram("127.0.0.1:9".parse().unwrap()),
        Use::Datagram("127.0.0.1:10".parse().unwrap()),
        Use::Listen(port),
    ];
    assert_eq!((uses.as_slice(), lost), (expected.as_slice(), 0));
}
