//! The orchestrator is started as systemd starts who listens: with sockets that are bound already.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::support::{Said, TestProject, Up, children, missing};

/// Binds a TCP port and a path, or `datagram`, as its first arguments say, and has the rest run in a child that is passed
/// them. It goes on holding them itself, and hands signals on.
const PARENT: &str = r#"
import fcntl, os, signal, socket, sys
made = []
for address in sys.argv[1].split(","):
    if address == "datagram":
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("127.0.0.1", 0))
    elif "/" in address:
        one = socket.socket(socket.AF_UNIX)
        one.bind(address)
        one.listen()
    else:
        one = socket.create_server(("127.0.0.1", int(address)))
    made.append(one)
child = os.fork()
if child == 0:
    high = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, 100) for one in made]
    for place, number in enumerate(high):
        os.dup2(number, 3 + place)
    pid = int(sys.argv[2]) or os.getpid()
    names = ":".join("one two three".split()[:len(made)])
    os.environ.update(LISTEN_PID=str(pid), LISTEN_FDS=sys.argv[3] or str(len(made)), LISTEN_FDNAMES=names)
    os.execv(sys.argv[4], sys.argv[4:])
print("child", child, flush=True)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(child, number))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

/// `up`, passed sockets at these addresses. `pid` and `count` are what it is told of them; 0 and nothing for what is true.
fn passed(project: &TestProject, addresses: &str, pid: &str, count: &str) -> Command {
    project.command_through(&["python3", "-c", PARENT, addresses, pid, count], &["up"])
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    listener.local_addr().expect("it is bound").port()
}

fn get(port: u16) -> String {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    connection
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers");
    answer
}

/// What the descriptors of a process are.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it is there").flatten();
    entries.filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}

#[test]
fn passed_sockets_are_served_by_all_replicas_and_by_nobody_else() {
    if missing("python3", "a parent that passes sockets")
        || missing("perl", "a program that is passed sockets")
    {
        return;
    }
    let port = free_port();
    let project = TestProject::new(&format!(
        r#"  web:
    runtime: js
    replicas: 2
    listen: {{ http: "127.0.0.1:{port}" }}
    code: |
      export const fetch = () => new Response("hello");
  ipc:
    runtime: exec
    listen: {{ ipc: ./app.sock }}
    code: |
      #!/usr/bin/perl
      use Socket; $| = 1;
      print "told $ENV{{LISTEN_FDS}} $ENV{{LISTEN_FDNAMES}} ", $ENV{{LISTEN_PID}} == $$ ? "mine" : "not mine", "\n";
      open(my $ipc, "+<&=", 3) or die;
      while (accept(my $c, $ipc)) {{ print $c "hello"; close $c; }}
  other:
    runtime: exec
    code: |
      #!/usr/bin/perl
      $| = 1;
      print join(" ", "told", grep(/^LISTEN/, keys %ENV), "nothing"), "\n";
      sleep 1000;
"#
    ));
    let path = project.path().join("app.sock");
    let mut up = Up::begin(&mut passed(&project, &format!("{},{port}", path.display()), "0", ""));
    let child = up.wait_for("child ");
    up.wait_for("all 3 services are up");
    for _ in 0..20 {
        assert!(get(port).ends_with("hello"));
    }
    assert_eq!(project.run(&["reload", "web"]).code, Some(0));
    assert!(get(port).ends_with("hello"));
    let mut heard = String::new();
    UnixStream::connect(&path).expect("it listens").read_to_string(&mut heard).expect("text");
    assert_eq!(heard, "hello");
    let orchestrator: u32 = child.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a number");
    let sockets: Vec<_> = [3, 4]
        .map(|number| std::fs::read_link(format!("/proc/{orchestrator}/fd/{number}")).expect("it is there"))
        .map(|link| link.display().to_string())
        .into();
    for keeper in children(orchestrator) {
        assert!(descriptors(keeper).iter().all(|link| !sockets.contains(link)), "{keeper}");
    }
    up.interrupt();
    let (code, text) = up.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("| told 1 ipc mine") && text.contains("| told nothing"), "{text}");
    assert!(path.exists(), "it belongs to who has passed it");
}

#[test]
fn while_nobody_is_there_a_passed_socket_keeps_who_comes() {
    if missing("python3", "a parent that passes sockets") {
        return;
    }
    let port = free_port();
    let project = TestProject::new(&format!(
        "  web:
    runtime: js
    listen: {{ raw: \"127.0.0.1:{port}\" }}
    code: |
      export const fetch = () => new Response(\"hello\");
  other: {{ runtime: js, code: \"export const greet = () => 1;\\n\" }}
"
    ));
    let mut up = Up::begin(&mut passed(&project, &port.to_string(), "0", ""));
    up.wait_for("all 2 services are up");
    assert_eq!(project.run(&["stop", "web"]).code, Some(0));
    let waiting = std::thread::spawn(move || get(port));
    // It has come when the system says that somebody waits to be accepted.
    crate::support::wait_for("a connection", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let to_it = |line: &&str| {
            line.split_whitespace().nth(2).is_some_and(|to| to.ends_with(&format!(":{port:04X}")))
        };
        let lines = table.lines().filter(to_it);
        if lines.count() > 0 { Ok(()) } else { Err("none".to_owned()) }
    });
    assert_eq!(project.run(&["start", "web"]).code, Some(0));
    assert!(waiting.join().expect("it ends").ends_with("hello"));
    up.interrupt();
    up.end();
}

#[test]
fn what_cannot_be_used_is_said_before_anything_starts() {
    if missing("python3", "a parent that passes sockets") {
        return;
    }
    let port = free_port();
    let project = TestProject::new(
        "  web: { runtime: js, listen: { ipc: ./app.sock }, code: \"console.log('it runs');\\n\" }\n",
    );
    let path = project.path().join("other.sock");
    let shown = |path: &Path| path.display().to_string();
    let fix = "add that to the 'listen' of a service, or take it out of the .socket unit";
    for (addresses, count, why) in [
        (
            port.to_string(),
            "",
            format!("the socket 'one' was passed for 127.0.0.1:{port}, where no service listens; {fix}"),
        ),
        (
            shown(&path),
            "",
            format!("the socket 'one' was passed for {}, where no service listens; {fix}", shown(&path)),
        ),
        (
            "datagram".to_owned(),
            "",
            "'one', which was passed as descriptor 3, is no socket that connections are accepted from; write \
             'ListenStream=' and 'Accept=no' in its .socket unit"
                .to_owned(),
        ),
        (
            shown(&project.path().join("app.sock")),
            "2",
            "LISTEN_FDS says that descriptor 4 was passed, and it is not; correct it where the orchestrator is started"
                .to_owned(),
        ),
        (
            shown(&project.path().join("third.sock")),
            "many",
            "LISTEN_FDS is 'many', which is no number of sockets; correct or unset it where the orchestrator is started"
                .to_owned(),
        ),
    ] {
        let said = Said::of(&mut passed(&project, &addresses, "0", count));
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(&format!("error: {why}\n")), "{why}\n{said:?}");
        assert!(!said.out.contains("it runs"), "{said:?}");
    }
}

#[test]
fn what_was_passed_to_somebody_else_is_left_alone() {
    if missing("python3", "a parent that passes sockets") {
        return;
    }
    let project = TestProject::new("  web: { runtime: js, code: \"export const greet = () => 1;\\n\" }\n");
    let mut up = Up::begin(&mut passed(&project, &free_port().to_string(), "1", ""));
    up.wait_for("web running");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn who_is_passed_sockets_stays_in_the_foreground() {
    if missing("python3", "a parent that passes sockets") {
        return;
    }
    let port = free_port();
    let project = TestProject::new(&format!(
        "  web: {{ runtime: js, listen: {{ http: \"127.0.0.1:{port}\" }}, code: \"console.log('it runs');\\n\" }}\n"
    ));
    let launcher = ["python3", "-c", PARENT, &port.to_string(), "0", ""];
    let said = Said::of(&mut project.command_through(&launcher, &["up", "--detach"]));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!(
        said.err,
        "error: sockets were passed to this process, which cannot run in the background then\n  \
         fix: remove --detach and --wait: who passes sockets keeps it running\n"
    );
}
