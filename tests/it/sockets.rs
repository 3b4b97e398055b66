//! The orchestrator owns the listening sockets: whoever connects is served, whatever happens to the replicas behind them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{TestProject, kill, missing};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A port that nobody has.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    listener.local_addr().expect("it is bound").port()
}

/// A client that keeps its connection as long as it may.
struct Client {
    port: u16,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    fn new(port: u16) -> Self {
        Self { port, connection: None }
    }

    /// The status and the body of an answer.
    fn get(&mut self) -> Result<(u16, String), String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
                let stream = stream.map_err(|error| format!("connect: {error}"))?;
                stream.set_read_timeout(Some(DEADLINE)).expect("it is a time");
                BufReader::new(stream)
            }
        };
        let (answer, stays) = exchange(&mut connection).map_err(|error| format!("exchange: {error}"))?;
        self.connection = stays.then_some(connection);
        Ok(answer)
    }
}

fn exchange(connection: &mut BufReader<TcpStream>) -> std::io::Result<((u16, String), bool)> {
    connection.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut status, mut length, mut chunked, mut stays) = (0, None, false, true);
    for number in 0.. {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            _ if number == 0 => {
                status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            }
            Some(("content-length", value)) => length = value.parse().ok(),
            Some(("transfer-encoding", value)) => chunked = value == "chunked",
            Some(("connection", value)) => stays = value != "close",
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            connection.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            connection.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = length {
        body.resize(length, 0);
        connection.read_exact(&mut body)?;
    } else {
        connection.read_to_end(&mut body)?;
        stays = false;
    }
    Ok(((status, String::from_utf8_lossy(&body).into_owned()), stays))
}

fn get(port: u16) -> (u16, String) {
    Client::new(port).get().expect("it is served")
}

const JS: &str = "export const fetch = () => new Response(\"hello\");";

#[test]
fn every_runtime_is_served() {
    let node = "import http from \"node:http\"; http.createServer((q, r) => r.end(\"hello\")).listen(process.env.PORT);";
    let python = "
      from http.server import HTTPServer, BaseHTTPRequestHandler
      class Hello(BaseHTTPRequestHandler):
          def do_GET(self):
              self.send_response(200)
              self.send_header('Content-Length', '5')
              self.end_headers()
              self.wfile.write(b'hello')
      HTTPServer(('', A_PORT), Hello).serve_forever()";
    for (runtime, code) in [("js", JS), ("node", node), ("python", python)] {
        if runtime != "js" && missing(if runtime == "python" { "python3" } else { runtime }, "a server in it")
        {
            continue;
        }
        let port = free_port();
        let code = code.replace("A_PORT", &port.to_string());
        let project = TestProject::new(&format!(
            "  web:\n    runtime: {runtime}\n    listen: {{ http: \"127.0.0.1:{port}\" }}\n    code: |\n      {code}\n"
        ));
        let mut up = project.up();
        up.wait_for("web running");
        assert_eq!(get(port), (200, "hello".to_owned()), "{runtime}");
        up.interrupt();
        assert_eq!(up.end().0, Some(0), "{runtime}");
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "{runtime}");
    }
}

#[test]
fn any_program_finds_its_sockets_where_systemd_would_put_them() {
    if missing("perl", "a program that is passed sockets") {
        return;
    }
    let port = free_port();
    let project = TestProject::new(&format!(
        r#"  web:
    runtime: exec
    listen: {{ tcp: "127.0.0.1:{port}", ipc: ./app.sock }}
    code: |
      #!/usr/bin/perl
      use Socket; $| = 1;
      print "told $ENV{{LISTEN_FDS}} $ENV{{LISTEN_FDNAMES}} ", $ENV{{LISTEN_PID}} == $$ ? "mine" : "not mine", " $ENV{{PORT}} $ENV{{ORCHESTRATOR_HOST_FD}}\n";
      open(my $tcp, "+<&=", 3) or die;
      open(my $ipc, "+<&=", 4) or die;
      for my $l ($tcp, $ipc) {{ accept(my $c, $l) or die; print $c "hello"; close $c; }}
      sleep 1000;
"#
    ));
    let mut up = project.up();
    up.wait_for(&format!("web-1 | told 2 tcp:ipc mine {port} 5"));
    let mut heard = String::new();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap().read_to_string(&mut heard).unwrap();
    UnixStream::connect(project.path().join("app.sock")).unwrap().read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hellohello");
    up.interrupt();
    up.end();
    assert!(!project.path().join("app.sock").exists());
}

/// Clients that ask all the time, some on connections that they keep and some not.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<(u64, Vec<String>)>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..12).map(|number| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let (mut served, mut failed, mut client) = (0, Vec::new(), Client::new(port));
                while !stop.load(Ordering::Relaxed) {
                    match client.get() {
                        Ok((200, _)) => served += 1,
                        other => failed.push(format!("{other:?}")),
                    }
                    if number % 3 == 0 {
                        client.connection = None;
                    }
                }
                (served, failed)
            })
        });
        Self { clients: clients.collect(), stop }
    }

    fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.clients.into_iter().map(|client| client.join().expect("a client goes on"));
        ended.fold((0, Vec::new()), |(served, mut failed), (more, errors)| {
            failed.extend(errors);
            (served + more, failed)
        })
    }
}

fn loses_no_request(runtime: &str, code: &str) {
    if runtime != "js" && missing(runtime, "a server in it") {
        return;
    }
    let port = free_port();
    let ending = if runtime == "js" { "js" } else { "mjs" };
    let project = TestProject::new(&format!(
        "  web: {{ code: ./web.{ending}, runtime: {runtime}, replicas: 2, listen: {{ http: \"127.0.0.1:{port}\" }} }}\n"
    ));
    let write = |version: &str| project.write(&format!("web.{ending}"), &code.replace("VERSION", version));
    write("v0");
    let mut up = project.up();
    up.wait_for("web running");
    let load = Load::start(port);
    for version in ["v1", "v2", "v3"] {
        write(version);
        let reloaded = project.run(&["reload", "web"]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        assert_eq!(get(port), (200, version.to_owned()));
    }
    for replicas in ["web=4", "web=1", "web=2"] {
        let scaled = project.run(&["scale", replicas]);
        assert_eq!(scaled.code, Some(0), "{scaled:?}");
    }
    let (served, failed) = load.end();
    assert!(served > 100, "{served}");
    assert!(failed.is_empty(), "{} of {served}: {:?}", failed.len(), failed.first());
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn no_request_of_embedded_javascript_is_lost_while_it_is_reloaded_and_scaled() {
    loses_no_request("js", "export const fetch = () => new Response(\"VERSION\");\n");
}

#[test]
fn no_request_of_node_is_lost_while_it_is_reloaded_and_scaled() {
    let code = "import http from \"node:http\";\nhttp.createServer((q, r) => r.end(\"VERSION\")).listen(process.env.PORT);\n";
    loses_no_request("node", code);
}

#[test]
fn connections_are_spread_evenly_over_replicas() {
    let port = free_port();
    let project = TestProject::new(&format!(
        "  web:
    runtime: js
    replicas: 4
    listen: {{ http: \"127.0.0.1:{port}\" }}
    code: |
      import {{ replica }} from \"orchestrator\";
      export const fetch = () => new Response(String(replica));
"
    ));
    let mut up = project.up();
    up.wait_for("1 service is up");
    let mut shares = [0; 4];
    // So many that even those of a host that is busy connecting elsewhere, and so at random here, keep within these bounds.
    for _ in 0..800 {
        let (_, replica) = get(port);
        shares[replica.parse::<usize>().expect("a number") - 1] += 1;
    }
    assert!(shares.iter().all(|share| (140..=260).contains(share)), "{shares:?}");
    up.interrupt();
    up.end();
}

#[test]
fn while_nobody_is_ready_http_is_told_to_come_again() {
    let port = free_port();
    let project = TestProject::new(&format!(
        "  web:
    runtime: js
    listen: {{ http: \"127.0.0.1:{port}\" }}
    code: |
      export const fetch = () => new Response(\"hello\");
      export function start() {{ console.log(\"it starts\"); return new Promise(() => {{}}); }}
"
    ));
    let mut up = project.up();
    up.wait_for("it starts");
    assert_eq!(get(port), (503, "no replica of web is ready\n".to_owned()));
    up.interrupt();
    up.end();
}

#[test]
fn who_comes_before_anybody_is_ready_waits_and_is_served() {
    for name in ["http", "raw"] {
        let port = free_port();
        let project = TestProject::new(&format!(
            "  web:
    runtime: js
    listen: {{ {name}: \"127.0.0.1:{port}\" }}
    code: |
      export const fetch = () => new Response(\"hello\");
      export const start = () => {{ console.log(\"it starts\"); return new Promise((done) => setTimeout(done, 200)); }};
"
        ));
        let mut up = project.up();
        up.wait_for("it starts");
        assert_eq!(get(port), (200, "hello".to_owned()), "{name}");
        up.interrupt();
        up.end();
    }
}

#[test]
fn a_replica_that_is_killed_is_missed_by_nobody_who_comes_then() {
    let port = free_port();
    let project = TestProject::new(&format!(
        "  web:
    runtime: js
    replicas: 2
    restart: {{ backoff: 100ms..1s, max: 50, within: 60s }}
    listen: {{ http: \"127.0.0.1:{port}\" }}
    code: |
      export const fetch = () => new Response(\"hello\");
      export const die = () => {{ setTimeout(() => {{ throw new Error(\"dead\"); }}); }};
"
    ));
    let mut up = project.up();
    up.wait_for("1 service is up");
    for _ in 0..3 {
        assert_eq!(project.run(&["call", "web", "die"]).code, Some(0));
        up.wait_for("web-");
        for _ in 0..50 {
            assert_eq!(get(port), (200, "hello".to_owned()));
        }
    }
    up.interrupt();
    up.end();
}

#[test]
fn a_socket_that_cannot_be_had_is_told_before_anything_starts() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    let port = taken.local_addr().expect("it is bound").port();
    for (address, why) in [
        (format!("\"127.0.0.1:{port}\""), "listens there; end that, or choose another address".to_owned()),
        (format!("{port}"), "listens there; end that, or choose another address".to_owned()),
        (
            "\"192.0.2.1:80\"".to_owned(),
            "service 'web' cannot listen on 192.0.2.1:80 (http): this host has no such address; 'ip address' lists \
             those that it has"
                .to_owned(),
        ),
        (
            "./no/folder/app.sock".to_owned(),
            "no/folder; make it".to_owned(),
        ),
        (
            "./manifest.yaml".to_owned(),
            "manifest.yaml (http): there is a file that is no socket; remove it, or choose another path".to_owned(),
        ),
    ] {
        let project = TestProject::new(&format!(
            "  web: {{ runtime: js, listen: {{ http: {address} }}, code: \"console.log('it runs');\\n\" }}\n"
        ));
        let said = project.run(&["up"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(&why), "{why}\n{said:?}");
        assert!(!said.out.contains("it runs"), "{said:?}");
    }
}

#[test]
fn who_is_being_answered_when_everything_closes_is_answered() {
    let port = free_port();
    let project = TestProject::new(&format!(
        "  web:
    runtime: js
    listen: {{ http: \"127.0.0.1:{port}\" }}
    permissions: {{ fs: {{ read: [./shared] }} }}
    code: |
      import {{ fs }} from \"orchestrator\";
      const here = () => fs.stat(\"./shared/go\").then(() => true, () => false);
      export async function fetch() {{
        console.log(\"it was asked\");
        while (!await here()) await new Promise((done) => setTimeout(done, 5));
        return new Response(\"answered\");
      }}
"
    ));
    project.write("shared/not-yet", "");
    let mut up = project.up();
    up.wait_for("web running");
    let client = thread::spawn(move || get(port));
    up.wait_for("it was asked");
    kill(up.pid(), "TERM");
    up.wait_for("closing in order");
    project.write("shared/go", "");
    assert_eq!(client.join().expect("it is answered"), (200, "answered".to_owned()));
    assert_eq!(up.end().0, Some(0));
}
