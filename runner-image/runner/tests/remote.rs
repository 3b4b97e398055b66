//! `runner remote`: one start, as its controller sees it.

#![expect(clippy::unwrap_used, reason = "the helpers of tests, too, may fail by panicking")]

mod support;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use orchestrator_port::PortClosed;
use orchestrator_port::bundle::digest;
use orchestrator_port::message::control::{FromRemote, Order, Probe, Thrown, ToRemote};
use rustix::process::Signal;
use support::{Booth, DEADLINE, Start, entry, exited, is_empty, runner, runs, shell};

#[tokio::test]
async fn what_a_process_of_a_millisecond_writes_arrives() {
    let mut start = Start::ready().await;
    let order = Order { command: ["echo", "hello"].map(Into::into).into(), ..shell("") };
    start.controller.run(order).await;
    let rest = start.controller.rest().await;
    assert_eq!(rest.stdout, b"hello\n");
    assert_eq!(rest.messages, [exited(0)]);
    assert_eq!(start.process.wait().await, Some(0));
    assert!(is_empty(&start.booth.root));
}

#[tokio::test]
async fn an_exit_code_and_a_signal_are_told_apart() {
    for (script, end) in [
        ("exit 3", exited(3)),
        ("kill -SEGV $$", FromRemote::Exited { code: None, signal: Some(11) }),
        ("exit 139", exited(139)),
    ] {
        let mut start = Start::shell(script).await;
        assert_eq!(start.controller.rest().await.messages, [end], "{script}");
    }
}

#[tokio::test]
async fn output_is_passed_on_as_it_is() {
    let script =
        r"printf '\000\377\033[31m\r'; head -c 1000000 /dev/zero | tr '\0' x; printf '\nend' ; echo oops >&2";
    let mut start = Start::shell(script).await;
    let rest = start.controller.rest().await;
    let expected = [b"\0\xff\x1b[31m\r".as_slice(), &[b'x'; 1_000_000], b"\nend"].concat();
    assert!(rest.stdout == expected, "{} bytes", rest.stdout.len());
    assert_eq!(rest.stderr, b"oops\n");
}

#[tokio::test]
async fn much_output_is_complete() {
    let mut start = Start::shell("seq 2000000").await;
    let rest = start.controller.rest().await;
    let expected: String = (1..=2_000_000).map(|number| format!("{number}\n")).collect();
    assert!(rest.stdout == expected.as_bytes(), "{} bytes of {}", rest.stdout.len(), expected.len());
    assert_eq!(rest.messages, [exited(0)]);
}

#[tokio::test]
async fn a_slow_controller_slows_the_service_down() {
    let mut start = Start::shell("echo begun; exec cat /dev/zero").await;
    assert!(start.controller.hear_output().await.starts_with(b"begun\n"));
    // Nothing is read here until the service has been stopped by it.
    let service = orchestrator_sandbox::tree::children(start.process.pid())[0];
    let wchan = format!("/proc/{}/wchan", service.as_raw_nonzero());
    while !std::fs::read_to_string(&wchan).unwrap().contains("pipe") {
        tokio::task::yield_now().await;
    }
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", start.process.pid().as_raw_nonzero())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 32 * 1024, "{peak} kB");
}

#[tokio::test]
async fn a_service_has_what_it_was_given_and_nothing_else() {
    let mut start = Start::ready().await;
    let mut order = shell("env | sort; ls /proc/self/fd; pwd; cat");
    order.env.insert("PATH".into(), "/usr/bin:/bin".into());
    order.env.insert("GREETING".into(), "hello".into());
    order.env.insert("ORCHESTRATOR_REPLICA".into(), "99".into());
    order.folder = "code".into();
    start.controller.ship(&[entry("code/x", false, b"")]).await;
    start.controller.run(order).await;
    let rest = start.controller.rest().await;
    let root = start.booth.root.display();
    let expected = format!(
        "GREETING=hello\nHOME={root}/tmp\nLANG=C.UTF-8\nORCHESTRATOR_HOST_FD=3\nORCHESTRATOR_REPLICA=2\n\
         ORCHESTRATOR_SERVICE=shop/cart\nPATH=/usr/bin:/bin\nPWD={root}/code\nTMPDIR={root}/tmp\n\
         0\n1\n2\n3\n4\n{root}/code\n"
    );
    // The shell itself sets PWD; 4 is the folder that ls reads; standard input is empty, so cat ends.
    assert_eq!(String::from_utf8(rest.stdout).unwrap(), expected);
    assert_eq!(rest.messages, [exited(0)]);
}

#[tokio::test]
async fn code_is_written_and_run_from_its_folder() {
    let mut start = Start::ready().await;
    let script = b"#!/bin/sh\ncat \"$1/data/text\"; readlink \"$2\"; test -x \"$1/data/text\" || echo plain";
    start.controller.ship(&[entry("code/run", true, script), entry("data/text", false, b"shipped\n")]).await;
    let order = Order {
        command: ["{code}", "{root}", "{runner}"].map(Into::into).into(),
        code: "code/run".into(),
        ..shell("")
    };
    start.controller.run(order).await;
    let rest = start.controller.rest().await;
    assert_eq!(
        String::from_utf8(rest.stdout).unwrap(),
        // The runner runs from memory.
        "shipped\n/memfd:orchestrator-runner (deleted)\nplain\n"
    );
}

#[tokio::test]
async fn what_cannot_be_run_says_why_in_the_manifests_words() {
    for (command, code, message) in [
        (
            "pyton3",
            127,
            "program 'pyton3' not found on PATH (/usr/bin:/bin): install it, or name it by its path",
        ),
        ("{root}/code/missing", 127, "program 'code/missing' not found"),
        ("{root}/code/plain", 126, "'code/plain' is not executable: make it so with chmod +x"),
        (
            "{root}/code/script",
            126,
            "'code/script' is run by '/no/such/node' (its first line says so), which is not there",
        ),
        (
            "{root}/code/text",
            126,
            "'code/text' is no program for this machine: it has no '#!' line and is no binary for it",
        ),
    ] {
        let mut start = Start::ready().await;
        start
            .controller
            .ship(&[
                entry("code/plain", false, b"#!/bin/sh\n"),
                entry("code/script", true, b"#!/no/such/node\n"),
                entry("code/text", true, b"print('hello')\n"),
            ])
            .await;
        let mut order = Order { command: vec![command.into()], ..shell("") };
        order.env.insert("PATH".into(), "/usr/bin:/bin".into());
        start.controller.tell(ToRemote::Run(order), b"").await;
        let thrown = Thrown { name: "SpawnError".into(), message: message.into(), stack: String::new() };
        let rest = start.controller.rest().await;
        assert_eq!(rest.messages, [FromRemote::StartFailed(thrown), exited(code)], "{command}");
    }
}

#[tokio::test]
async fn a_bundle_that_is_not_what_was_announced_is_refused() {
    let good = [entry("a", false, b"1")];
    let ship = |entries, bytes, sha256: String| ToRemote::Ship { entries, bytes, sha256 };
    let piece = |path: &str| ToRemote::Entry { path: path.into(), executable: false, more: false };
    for (messages, error) in [
        (vec![ship(1, 1, "0".repeat(64)), piece("a")], "bundle has another digest than was announced"),
        (vec![ship(1, 1, digest(&good)), piece("../a")], "bundle entry \"../a\": '.' or '..' in a path"),
        (vec![ship(1, 0, digest(&good)), piece("a")], "bundle has more than was announced"),
        (
            vec![ship(2, 2, digest(&good)), piece("a"), piece("A")],
            "bundle refused: 'a' and 'A' differ in case only",
        ),
        (vec![ship(20_001, 0, String::new())], "bundle refused: more than 20000 files"),
    ] {
        let mut start = Start::ready().await;
        for message in messages {
            start.controller.tell(message, b"1").await;
        }
        let broken = FromRemote::Broken { error: format!("failed to receive the code: {error}") };
        assert_eq!(start.controller.rest().await.messages, [broken]);
        assert_eq!(start.process.wait().await, Some(1));
        assert!(is_empty(&start.booth.root));
    }
}

#[tokio::test]
async fn what_is_said_out_of_turn_breaks_the_start() {
    for (messages, error) in [
        (vec![ToRemote::Entry { path: "a".into(), executable: false, more: false }], "entry before ship"),
        (
            vec![
                ToRemote::Ship { entries: 1, bytes: 0, sha256: String::new() },
                ToRemote::Run(Order::default()),
            ],
            "run before the last entry",
        ),
        (
            vec![ToRemote::Run(shell("sleep 1000")), ToRemote::Run(Order::default())],
            "code while a service runs",
        ),
    ] {
        let mut start = Start::ready().await;
        for message in messages {
            start.controller.tell(message, b"").await;
        }
        let last = start.controller.rest().await.messages.pop().unwrap();
        let error = format!("controller said something out of turn: {error}");
        assert_eq!(last, FromRemote::Broken { error });
    }
}

#[tokio::test]
async fn its_descriptor_is_the_services_own_and_ends_with_it() {
    let mut start = Start::shell("read -r line <&3; echo \"$line back\" >&3").await;
    start.booth.host.write_all(b"there and\n").unwrap();
    assert_eq!(start.controller.rest().await.messages, [exited(0)]);
    let mut said = String::new();
    start.booth.host.read_to_string(&mut said).unwrap();
    assert_eq!(said, "there and back\n");
}

#[tokio::test]
async fn it_is_closed_by_sigterm_to_its_group() {
    let script = "trap 'echo closing; exit 0' TERM; echo up; sleep 1000 & wait";
    let mut start = Start::shell(script).await;
    assert_eq!(start.controller.line().await, "up");
    start.controller.tell(ToRemote::Close, b"").await;
    let rest = start.controller.rest().await;
    assert_eq!(rest.stdout, b"closing\n");
    assert_eq!(rest.messages, [exited(0)]);
}

#[tokio::test]
async fn it_can_be_closed_before_anything_runs() {
    let mut start = Start::ready().await;
    start.controller.tell(ToRemote::Close, b"").await;
    assert!(start.controller.rest().await.messages.is_empty());
    assert_eq!(start.process.wait().await, Some(0));
}

/// Starts a process that leaves its family and ignores SIGTERM; writes its id when it has done so.
const STRAY: &str = "mkfifo $TMPDIR/id; \
    (trap '' TERM HUP; setsid sh -c 'echo $$ >$TMPDIR/id; exec sleep 1000' & exit); cat $TMPDIR/id";

#[tokio::test]
async fn whatever_a_service_leaves_behind_is_gone_when_it_has_exited() {
    // The stray process holds standard output, too: it must not delay the end.
    let mut start = Start::shell(&format!("{STRAY}; exit 5")).await;
    let stray = start.controller.line().await;
    assert_eq!(start.controller.rest().await.messages, [exited(5)]);
    assert!(!runs(&stray));
}

#[tokio::test]
async fn losing_the_connection_ends_everything() {
    let mut start = Start::shell(&format!("{STRAY}; trap '' TERM; sleep 1000")).await;
    let stray = start.controller.line().await;
    assert!(runs(&stray));
    drop(start.controller);
    assert_eq!(start.process.wait().await, Some(1));
    assert!(!runs(&stray));
    assert!(is_empty(&start.booth.root));
}

#[tokio::test]
async fn sigterm_to_the_runner_is_as_losing_the_connection() {
    let mut start = Start::shell(&format!("{STRAY}; sleep 1000")).await;
    let stray = start.controller.line().await;
    start.process.signal(Signal::TERM);
    assert_eq!(start.controller.next().await, Err(PortClosed::Lost));
    assert_eq!(start.process.wait().await, Some(1));
    assert!(!runs(&stray));
    assert!(is_empty(&start.booth.root));
}

#[tokio::test]
async fn a_runner_that_is_refused_ends() {
    let mut booth = Booth::new();
    let other = orchestrator_port::Token::generate();
    let host_end = booth.host_end.take().unwrap();
    let process = runner(&["remote"], &[booth.ticket(&other).as_fd(), host_end.as_fd()]);
    booth.refuse().await;
    assert_eq!(process.wait().await, Some(1));
    assert!(is_empty(&booth.root));
}

#[tokio::test]
async fn a_port_is_probed() {
    let mut start = Start::shell("sleep 1000").await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(start.controller.probe(Probe::Tcp(port), DEADLINE).await, None);
    drop(listener);
    assert_eq!(start.controller.probe(Probe::Tcp(port), DEADLINE).await, Some("connection refused".into()));
}

#[tokio::test]
async fn a_web_server_is_probed() {
    let mut start = Start::shell("sleep 1000").await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    for (answer, failure) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.1 302 Found\r\n\r\n", None),
        ("HTTP/1.1 503 Busy\r\n\r\n", Some("status 503")),
        ("220 smtp\r\n", Some("the answer is no HTTP")),
        ("", Some("the answer is no HTTP")),
    ] {
        let probe = Probe::Http { port, path: "/health?full=1".into() };
        let served = async {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut request = [0; 1024];
            let count = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await.unwrap();
            assert!(request[..count].starts_with(b"GET /health?full=1 HTTP/1.1\r\n"));
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
        };
        let (failed, ()) = tokio::join!(start.controller.probe(probe, DEADLINE), served);
        assert_eq!(failed.as_deref(), failure, "{answer}");
    }
    // Accepted by the kernel, answered by nobody.
    let probe = Probe::Http { port, path: "/".into() };
    let failed = start.controller.probe(probe, Duration::from_millis(50)).await;
    assert_eq!(failed.as_deref(), Some("no answer within 50 ms"));
    let probe = Probe::Http { port, path: "/a\r\nb".into() };
    let failed = start.controller.probe(probe, DEADLINE).await;
    assert_eq!(failed.as_deref(), Some("no path to ask for: \"/a\\r\\nb\""));
}

#[tokio::test]
async fn a_command_is_a_probe() {
    let mut start = Start::shell("sleep 1000").await;
    for (script, failure) in [
        ("exit 0", None),
        ("test \"$ORCHESTRATOR_SERVICE\" = shop/cart", None),
        ("exit 4", Some("exit code 4")),
        ("echo first >&2; echo 'no luck' >&2; exit 1", Some("exit code 1: no luck")),
        ("kill -KILL $$", Some("ended by signal 9")),
    ] {
        let probe = Probe::Exec(["sh", "-c", script].map(Into::into).into());
        assert_eq!(start.controller.probe(probe, DEADLINE).await.as_deref(), failure, "{script}");
    }
    let probe = Probe::Exec(vec!["no-such-program".into()]);
    let failed = start.controller.probe(probe, DEADLINE).await.unwrap();
    assert!(failed.starts_with("program 'no-such-program' not found on PATH"), "{failed}");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let mut start = Start::shell("sleep 1000").await;
    let pid = start.booth.folder.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 1000", pid.display());
    let probe = Probe::Exec(["sh", "-c", &script].map(Into::into).into());
    let failed = start.controller.probe(probe, Duration::from_millis(1500)).await;
    assert_eq!(failed.as_deref(), Some("no answer within 1.5 s"));
    let pid = std::fs::read_to_string(pid).unwrap();
    while runs(pid.trim()) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn figures_come_for_the_whole_tree() {
    let script = "sh -c 'while :; do :; done' & sh -c 'while :; do :; done'";
    let mut start = Start::shell(script).await;
    loop {
        let frame =
            tokio::time::timeout(DEADLINE, start.controller.receiver.receive()).await.unwrap().unwrap();
        if let FromRemote::Usage(usage) = frame.parse().unwrap()
            && usage.processes >= 3
            && usage.cpu_time > 0
        {
            assert!(usage.memory > 100_000, "{usage:?}");
            return;
        }
    }
}
