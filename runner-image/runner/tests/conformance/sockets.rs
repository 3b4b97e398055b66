//! What an unmodified program that listens gets of the sockets that were passed to it, and what its clients see as it
//! closes: the second table of cases.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use tempfile::TempDir;

use crate::cases::Files;
use crate::host_process::{Ended, HostProcess};
use crate::plugin::Plugin;

/// After this long, what a client waits for does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// One row.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// For some plugins, the files of the code.
    code: &'static [(&'static str, Files)],
    pub(crate) check: fn(Listening),
}

impl Case {
    /// The files of the code; none where the case does not apply.
    pub(crate) fn files(&self, plugin: &str) -> Option<Files> {
        self.code.iter().find(|(of, _)| *of == plugin).map(|(_, files)| *files)
    }
}

/// A host with two listening sockets, `http` and `ipc`, of which the test keeps copies as the orchestrator does.
pub(crate) struct Listening {
    host: HostProcess,
    tcp: TcpListener,
    unix: UnixListener,
    folder: TempDir,
}

impl Listening {
    pub(crate) fn start(plugin: &Plugin, files: Files) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("app.sock");
        let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
        let sockets = [
            (tcp.as_fd(), format!("http={}", tcp.local_addr().unwrap())),
            (unix.as_fd(), format!("ipc={}", path.display())),
        ];
        let host = HostProcess::start_listening(plugin, files, "service", &sockets);
        Self { host, tcp, unix, folder }
    }

    fn port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.tcp.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn connect_to_path(&self) -> Client<UnixStream> {
        let stream = UnixStream::connect(self.folder.path().join("app.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    /// Tells the host to close, and returns when it has heard it. To be used while a connection is open: without one the
    /// host may be gone before it answers.
    fn tell_to_close(&mut self) {
        self.host.say("{\"type\":\"close\"}\n{\"type\":\"health\",\"id\":7}\n");
        assert_eq!(self.host.next()["type"], "health");
    }

    /// Tells the host to close, and waits for its end.
    fn close(mut self) -> Ended {
        self.host.say("{\"type\":\"close\"}\n");
        self.ended()
    }

    /// Waits for the host's end, and expects that both sockets work on for whoever has them, too.
    fn ended(self) -> Ended {
        let path = self.folder.path().join("app.sock");
        let ended = self.host.ended();
        let _next =
            (TcpStream::connect(self.tcp.local_addr().unwrap()).unwrap(), UnixStream::connect(path).unwrap());
        let _accepted = (self.tcp.accept().unwrap(), self.unix.accept().unwrap());
        ended
    }
}

/// Someone on the other end of a connection.
struct Client<S>(BufReader<S>);

/// An answer over HTTP.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    body: String,
    /// Whether the client is told that nothing follows on this connection.
    last: bool,
}

fn answer(body: &str, last: bool) -> Answer {
    Answer { body: body.into(), last }
}

impl<S: Read + Write> Client<S> {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Sends a line and expects it back in capital letters.
    fn shout(&mut self, word: &str) {
        self.send(&format!("{word}\n"));
        assert_eq!(self.line(), format!("{}\n", word.to_uppercase()));
    }

    fn post(&mut self, body: &str) -> Answer {
        self.begin(body.len());
        self.send(body);
        self.answer()
    }

    /// A request whose body is still to come.
    fn begin(&mut self, length: usize) {
        self.send(&format!("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: {length}\r\n\r\n"));
    }

    fn answer(&mut self) -> Answer {
        let (mut length, mut last) = (0, false);
        assert_eq!(self.line(), "HTTP/1.1 200 OK\r\n");
        loop {
            let line = self.line().to_ascii_lowercase();
            match line.trim_end().split_once(": ") {
                Some(("content-length", text)) => length = text.parse().unwrap(),
                Some(("connection", text)) => last = text == "close",
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Answer { body: String::from_utf8(body).unwrap(), last }
    }

    fn is_over(&mut self) -> bool {
        self.0.fill_buf().unwrap().is_empty()
    }
}

/// What each of these programs says at the end of its `close`.
fn closed() -> Ended {
    Ended { code: Some(0), stdout: "closed\n".into(), stderr: String::new() }
}

/// Servers of HTTP that answer with the body in capital letters.
const HTTP: &[(&str, Files)] = &[
    ("node", &[("main.js", include_str!("listening/http.js"))]),
    ("python", &[("main.py", include_str!("listening/http.py"))]),
];

/// Servers that answer every line with the same in capital letters.
const LINES: &[(&str, Files)] = &[
    ("node", &[("main.js", include_str!("listening/lines.js"))]),
    ("python", &[("main.py", include_str!("listening/lines.py"))]),
];

pub(crate) const ALL: &[Case] = &[
    Case {
        name: "http_servers_get_the_passed_socket",
        code: HTTP,
        check: |mut listening| {
            listening.host.started();
            assert_eq!(listening.connect().post("one"), answer("ONE", false));
            assert_eq!(listening.connect().post("two"), answer("TWO", false));
            assert_eq!(listening.close(), closed());
        },
    },
    Case {
        name: "a_keep_alive_client_that_goes_on_loses_nothing",
        code: HTTP,
        check: |mut listening| {
            listening.host.started();
            let mut client = listening.connect();
            assert_eq!(client.post("first"), answer("FIRST", false));
            listening.tell_to_close();
            assert_eq!(client.post("second"), answer("SECOND", true));
            assert!(client.is_over());
            assert_eq!(listening.ended(), closed());
        },
    },
    Case {
        name: "a_silent_keep_alive_client_is_let_go",
        code: HTTP,
        check: |mut listening| {
            listening.host.started();
            let mut client = listening.connect();
            assert_eq!(client.post("first"), answer("FIRST", false));
            listening.tell_to_close();
            assert!(client.is_over());
            assert_eq!(listening.ended(), closed());
        },
    },
    Case {
        name: "a_request_under_way_is_finished",
        code: HTTP,
        check: |mut listening| {
            listening.host.started();
            let mut client = listening.connect();
            assert_eq!(client.post("first"), answer("FIRST", false));
            client.begin("second".len());
            client.send("sec");
            listening.tell_to_close();
            client.send("ond");
            assert_eq!(client.answer(), answer("SECOND", true));
            assert!(client.is_over());
            assert_eq!(listening.ended(), closed());
        },
    },
    Case { name: "other_connections_are_finished", code: LINES, check: finishes_lines },
    Case {
        name: "asyncio_servers_get_the_passed_socket",
        code: &[("python", &[("main.py", include_str!("listening/asyncio_lines.py"))])],
        check: finishes_lines,
    },
    Case {
        name: "paths_are_passed_too",
        code: &[
            ("node", &[("main.js", include_str!("listening/path.js"))]),
            ("python", &[("main.py", include_str!("listening/path.py"))]),
        ],
        check: |mut listening| {
            listening.host.started();
            let mut client = listening.connect_to_path();
            client.shout("one");
            listening.tell_to_close();
            client.shout("two");
            client.0.get_ref().shutdown(Shutdown::Both).unwrap();
            assert_eq!(listening.ended(), closed());
        },
    },
    Case {
        name: "a_socket_is_taken_once",
        code: &[
            ("node", &[("main.js", include_str!("listening/twice.js"))]),
            ("python", &[("main.py", include_str!("listening/twice.py"))]),
        ],
        check: |mut listening| {
            listening.host.started();
            let port = listening.port();
            let stdout = format!("127.0.0.1 {port}\nEADDRINUSE\ntrue\n");
            assert_eq!(listening.close(), Ended { code: Some(0), stdout, stderr: String::new() });
        },
    },
    Case {
        name: "a_socket_that_was_closed_is_gone",
        code: &[("node", &[("main.js", include_str!("listening/again.js"))])],
        check: |mut listening| {
            let error = listening.host.error("failed");
            let why = "this start has closed its socket; restart the service to have it again";
            let message = format!("listen EADDRNOTAVAIL: {why} 127.0.0.1:{}", listening.port());
            assert_eq!(error["message"], message);
        },
    },
    Case {
        name: "a_hook_may_close_the_server_itself",
        code: &[("node", &[("main.js", include_str!("listening/closes.js"))])],
        check: |mut listening| {
            listening.host.started();
            assert_eq!(listening.connect().post("one"), answer("ONE", false));
            assert_eq!(listening.close(), closed());
        },
    },
    Case {
        name: "an_upgraded_connection_waits_for_the_hook",
        code: &[("node", &[("main.js", include_str!("listening/upgrade.js"))])],
        check: |mut listening| {
            listening.host.started();
            let mut client = listening.connect();
            client.send("GET / HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n");
            assert_eq!(client.line(), "HTTP/1.1 101 Lines\r\n");
            assert_eq!(client.line(), "\r\n");
            listening.tell_to_close();
            assert_eq!(client.line(), "bye\n");
            drop(client);
            assert_eq!(listening.ended(), closed());
        },
    },
    Case {
        name: "a_program_that_serves_for_ever_has_started",
        code: &[("python", &[("main.py", include_str!("listening/forever_http.py"))])],
        check: |mut listening| {
            listening.host.started();
            let mut client = listening.connect();
            assert_eq!(client.post("one"), answer("ONE", false));
            drop(client);
            assert_eq!(listening.close(), closed());
        },
    },
    Case {
        name: "a_start_that_serves_for_ever_has_started",
        code: &[("python", &[("main.py", include_str!("listening/forever_asyncio.py"))])],
        check: |mut listening| {
            assert_eq!(listening.host.started()["methods"], serde_json::json!(["level"]));
            finishes_lines_of(listening);
        },
    },
    Case {
        name: "a_program_that_accepts_for_ever_has_started",
        code: &[("python", &[("main.py", include_str!("listening/forever_raw.py"))])],
        check: |mut listening| {
            listening.host.started();
            let mut client = listening.connect();
            client.shout("one");
            listening.host.say("{\"type\":\"close\"}\n");
            client.shout("two");
            drop(client);
            assert_eq!(listening.ended(), closed());
        },
    },
];

fn finishes_lines(mut listening: Listening) {
    listening.host.started();
    finishes_lines_of(listening);
}

fn finishes_lines_of(mut listening: Listening) {
    let mut client = listening.connect();
    client.shout("one");
    listening.tell_to_close();
    client.shout("two");
    client.0.get_ref().shutdown(Shutdown::Both).unwrap();
    assert_eq!(listening.ended(), closed());
}
