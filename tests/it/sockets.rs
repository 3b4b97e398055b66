//! The orchestrator owns the listening sockets: whoever connects is served, whatever happens to the replicas behind them.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use crate::support::http::{free_port, get};
use crate::support::{TestProject, User, kill, missing};

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
    let client = std::thread::spawn(move || get(port));
    up.wait_for("it was asked");
    kill(up.pid(), "TERM");
    up.wait_for("closing in order");
    project.write("shared/go", "");
    assert_eq!(client.join().expect("it is answered"), (200, "answered".to_owned()));
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn a_port_that_is_for_root_is_told_so() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|first| first.trim() == "0") {
        println!("skipped: a port that is for root, because none is on this host");
        return;
    }
    let services =
        "  web: { runtime: js, listen: { http: \"127.0.0.1:1\" }, code: \"console.log('it runs');\\n\" }\n";
    let project = TestProject::run_by(User::Ordinary, services);
    let said = project.run(&["up"]);
    let told = "error: service 'web' cannot listen on 127.0.0.1:1 (http): ports below 1024 are for root; choose a higher one, \
                or allow it with 'sysctl net.ipv4.ip_unprivileged_port_start=1'\n";
    assert_eq!((said.code, said.err.as_str()), (Some(1), told), "{said:?}");
}
