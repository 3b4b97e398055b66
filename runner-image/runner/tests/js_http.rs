//! A js service that exports `fetch`, asked over HTTP on sockets that its start was given.

#![expect(clippy::unwrap_used, reason = "the helpers of tests, too, may fail by panicking")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use bytes::Bytes;
use orchestrator_port::bundle::{Entry, EntryPath};
use orchestrator_port::launch::{Confinement, Listener, Sandbox};
use orchestrator_port::message::control::{FromRemote, Order, Stream};
use orchestrator_sandbox::descriptors::{packet_pair, stream_pair};
use support::{Booth, Controller, DEADLINE, RunnerProcess, exited, nothing, runner};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// A started js service, and what it listens on. The listeners are kept here, as by the orchestrator.
struct Site {
    booth: Booth,
    process: RunnerProcess,
    controller: Controller,
    host: BufReader<std::os::unix::net::UnixStream>,
    address: SocketAddr,
    _tcp: TcpListener,
    _unix: UnixListener,
}

impl Site {
    /// One that has started.
    async fn new(code: &str) -> Self {
        Self::held(code, None, None).await
    }

    async fn held(code: &str, confinement: Option<Confinement>, longest_message: Option<u64>) -> Self {
        let mut site = Self::begin(code, confinement, longest_message).await;
        let started = site.hear();
        assert!(started.contains("\"started\""), "{started}");
        site
    }

    /// One of which nothing is known yet.
    async fn begin(code: &str, confinement: Option<Confinement>, longest_message: Option<u64>) -> Self {
        let mut booth = Booth::new();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let path = booth.folder.path().join("app.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = |name: &str, address: String| Listener { name: name.into(), address };
        booth.listen =
            vec![listener("http", address.to_string()), listener("ipc", path.to_str().unwrap().into())];
        let has_network = confinement.as_ref().is_some_and(|confinement| confinement.network);
        let ticket = booth.ticket_to(&booth.token, confinement);
        let host_end = booth.host_end.take().unwrap();
        let (_gateway, line) = packet_pair().unwrap();
        let mut descriptors = vec![ticket.as_fd(), host_end.as_fd()];
        descriptors.extend(has_network.then_some(line.as_fd()));
        descriptors.extend([tcp.as_fd(), unix.as_fd()]);
        let process = runner(&["remote"], &descriptors);
        let (sender, receiver) = booth.accept().await;
        let mut controller = Controller { sender, receiver };
        let ready = controller.hear().await;
        assert!(matches!(ready, FromRemote::Ready { .. }), "{ready:?}");
        let path = EntryPath::parse("code/main.js").unwrap();
        let bytes = Bytes::copy_from_slice(code.as_bytes());
        controller.ship(&[Entry { path, executable: false, bytes }]).await;
        let order = Order {
            service: "web".into(),
            replica: 1,
            command: ["{runner}", "js-host", "{code}"].map(Into::into).into(),
            code: "code/main.js".into(),
            folder: "code".into(),
            longest_message,
            ..Order::default()
        };
        controller.run(order).await;
        let host = booth.host.try_clone().unwrap();
        host.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { booth, process, controller, host: BufReader::new(host), address, _tcp: tcp, _unix: unix }
    }

    /// The next line of its host.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.host.read_line(&mut line).unwrap();
        line
    }

    fn close(&mut self) {
        self.booth.host.write_all(b"{\"type\":\"close\"}\n").unwrap();
    }

    async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// The answer to one request over a connection of its own.
    async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request.as_bytes()).await;
        client.answer().await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: shop.example:81\r\n\r\n")).await
    }

    /// What is written to standard error next, to the end of a line. A complaint is written at once.
    async fn complaint(&mut self) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\n") {
            if let (FromRemote::Output { stream: Stream::Stderr, .. }, bytes) =
                self.controller.next().await.unwrap()
            {
                text.extend_from_slice(&bytes);
            }
        }
        String::from_utf8(text).unwrap()
    }

    /// All of it to its end, which has to be a good one.
    async fn end(mut self) -> String {
        let rest = self.controller.rest().await;
        let output = String::from_utf8_lossy(&[rest.stdout, rest.stderr].concat()).into_owned();
        assert_eq!(rest.messages, [exited(0)], "{output}");
        self.process.wait().await;
        output
    }
}

/// An HTTP connection, seen from the client, byte by byte.
struct Client<T> {
    stream: T,
    read: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':').unwrap().1.trim())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    fn new(stream: T) -> Self {
        Self { stream, read: Vec::new() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn get(&mut self, path: &str) -> Option<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        // Where it is hung up on, there is no answer.
        let _ = self.stream.write_all(request.as_bytes()).await;
        self.answer().await
    }

    /// Reads on; false where there is no more.
    async fn more(&mut self) -> bool {
        let read = timeout(DEADLINE, self.stream.read_buf(&mut self.read)).await.unwrap();
        matches!(read, Ok(1..))
    }

    /// Everything up to and with this text; none where the connection ends before.
    async fn until(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.read.windows(text.len()).position(|window| window == text) {
                return Some(self.read.drain(..at + text.len()).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.read.drain(..count).collect())
    }

    async fn head(&mut self) -> Option<(u16, String)> {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await?).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some((status, head))
    }

    /// A chunk of an answer that comes in pieces; empty at its end.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = String::from_utf8(self.until(b"\r\n").await?).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let chunk = self.exactly(size).await?;
        self.exactly(2).await?;
        Some(chunk)
    }

    /// A whole answer; none where the connection ends before.
    async fn answer(&mut self) -> Option<Answer> {
        let (status, head) = self.head().await?;
        let mut answer = Answer { status, head, body: Vec::new() };
        if let Some(length) = answer.header("content-length") {
            answer.body = self.exactly(length.parse().unwrap()).await?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk().await?;
                if chunk.is_empty() {
                    break;
                }
                answer.body.extend(chunk);
            }
        }
        Some(answer)
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_request_is_answered_by_the_exported_fetch() {
    let code = "
        export async function fetch(request) {
            const all = [...request.headers].map(([name, value]) => `${name}=${value}`).join('; ');
            return new Response(`${request.method} ${request.url} ${all}`, { status: 201, headers: { 'X-A': 'b' } });
        }";
    let site = Site::new(code).await;
    let answer =
        site.ask("GET /a/b?c=%20d HTTP/1.1\r\nHost: shop.example:81\r\nX-Caf\u{e9}: 1\r\n\r\n").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer =
        site.ask("GET /a/b?c=%20d HTTP/1.1\r\nHost: shop.example:81\r\nx-a: 1\r\nX-A: 2\r\n\r\n").await;
    assert_eq!(answer.text(), "GET http://shop.example:81/a/b?c=%20d host=shop.example:81; x-a=1, 2");
    assert_eq!((answer.status, answer.header("x-a")), (201, Some("b")));
    assert_eq!(answer.header("content-type"), Some("text/plain;charset=UTF-8"));
    assert!(answer.header("date").is_some());
}

#[tokio::test]
async fn bodies_are_texts_bytes_and_json_in_both_directions() {
    let code = "
        export default {
            greeting: 'hello',
            async fetch(request) {
                switch (new URL(request.url).pathname) {
                    case '/text': return new Response(`${this.greeting} ${await request.text()}`);
                    case '/json': return Response.json({ is: (await request.json()).a });
                    case '/bytes': return new Response((await request.bytes()).reverse());
                    case '/buffer': return new Response((await request.arrayBuffer()).slice(1));
                    case '/none': return new Response(null, { status: 204 });
                    case '/cookies': {
                        const headers = new Headers([['set-cookie', 'a=1'], ['Set-Cookie', 'b=2']]);
                        return new Response('', { headers });
                    }
                    default: return new Response(await new Response('inner').text());
                }
            },
        };";
    let site = Site::new(code).await;
    assert_eq!(site.ask(&post("/text", "w\u{f6}rld")).await.text(), "hello w\u{f6}rld");
    let json = site.ask(&post("/json", "{\"a\":[1]}")).await;
    assert_eq!((json.text(), json.header("content-type")), ("{\"is\":[1]}", Some("application/json")));
    let mut client = site.connect().await;
    client.send(b"POST /bytes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send(b"2\r\n\x00\x80\r\n1\r\n\xff\r\n0\r\n\r\n").await;
    let bytes = client.answer().await.unwrap();
    assert_eq!((&*bytes.body, bytes.header("content-type")), (&b"\xff\x80\x00"[..], None));
    assert_eq!(site.ask(&post("/buffer", "abc")).await.text(), "bc");
    let none = site.get("/none").await;
    assert_eq!((none.status, none.header("content-length")), (204, None));
    let cookies = site.get("/cookies").await;
    assert_eq!(cookies.head.matches("set-cookie: ").count(), 2, "{cookies:?}");
    assert_eq!(site.get("/").await.text(), "inner");
    assert_eq!(site.get("/").await.header("content-length"), Some("5"));
}

#[tokio::test]
async fn the_documented_service_is_one() {
    let site = Site::new(include_str!("conformance/documented/site.js")).await;
    let page = site.get("/").await;
    assert_eq!((page.text(), page.header("content-type")), ("<h1>Shop</h1>", Some("text/html")));
    let order = site.ask(&post("/orders", "{\"article\":7}")).await;
    assert_eq!((order.status, order.text()), (201, "{\"ordered\":7}"));
    assert_eq!(site.get("/ticks").await.text(), "tick 1\ntick 2\ntick 3\n");
    assert_eq!(site.get("/nothing").await.status, 404);
}

#[tokio::test]
async fn what_is_thrown_is_told_to_the_operator_and_not_to_the_client() {
    let code = "
        export function fetch(request) {
            const path = new URL(request.url).pathname;
            if (path === '/throw') throw new TypeError('the price of gold');
            if (path === '/reject') return Promise.reject(new Error('no gold'));
            if (path === '/text') return 'gold';
            if (path === '/header') return new Response('', { headers: { 'a b': 'c' } });
            return new Response('fine');
        }";
    let mut site = Site::new(code).await;
    for (path, told) in [
        (
            "/throw",
            "GET http://shop.example:81/throw threw TypeError: the price of gold\nat fetch (main.js:4:",
        ),
        ("/reject", "GET http://shop.example:81/reject threw Error: no gold\nat fetch (main.js:5:"),
        ("/text", "GET http://shop.example:81/text threw TypeError: fetch() has returned no Response"),
        (
            "/header",
            "GET http://shop.example:81/header threw TypeError: the header 'a b' is none, or its value has a character that none may have",
        ),
    ] {
        let answer = site.get(path).await;
        assert_eq!((answer.status, &*answer.body), (500, &b""[..]), "{path}");
        let complaint = site.complaint().await;
        assert!(complaint.starts_with(told), "{complaint}");
    }
    assert_eq!(site.get("/").await.text(), "fine");
}

#[tokio::test]
async fn an_answer_that_is_a_generator_is_streamed_as_fast_as_it_is_taken() {
    let code = "
        let made = 0;
        let broken;
        const breaking = new Promise((resolve) => (broken = resolve));
        export async function fetch(request) {
            if (request.url.endsWith('/made')) return new Response(String(made));
            if (request.url.endsWith('/break')) { broken(); return new Response('broken'); }
            if (request.url.endsWith('/broken')) {
                return new Response((async function* () { yield 'begun'; await breaking; throw new Error('half'); })());
            }
            return new Response((async function* () {
                yield 'first,';
                yield new Uint8Array([50, 44]);
                for (;;) { made += 1; yield 'x'.repeat(1 << 16); }
            })(), { headers: { 'content-type': 'text/csv' } });
        }";
    let mut site = Site::new(code).await;
    let mut client = site.connect().await;
    client.send(b"GET /s HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (status, head) = client.head().await.unwrap();
    assert!(status == 200 && head.contains("content-type: text/csv"), "{head}");
    assert_eq!(client.chunk().await.unwrap(), b"first,");
    assert_eq!(client.chunk().await.unwrap(), b"2,");
    assert_eq!(client.chunk().await.unwrap().len(), 1 << 16);
    // It is not taken any more: what the system's buffers hold, and what is under way, is all that is made.
    let mut made = 0;
    loop {
        let now = site.get("/made").await.text().parse::<usize>().unwrap();
        if now == made {
            break;
        }
        made = now;
    }
    assert!(made < 1000, "{made}");
    drop(client);

    let mut client = site.connect().await;
    client.send(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.head().await.unwrap();
    assert_eq!(client.chunk().await.unwrap(), b"begun");
    assert_eq!(site.get("/break").await.text(), "broken");
    assert_eq!(client.chunk().await, None);
    let told = site.complaint().await;
    assert!(told.contains("the body of GET http://x/broken threw Error: half"), "{told}");
}

#[tokio::test]
async fn a_client_that_goes_away_aborts_its_request_and_ends_its_stream() {
    let code = "
        export async function fetch(request) {
            if (request.url.endsWith('/wait')) {
                console.log('asked');
                await new Promise((done) => request.signal.addEventListener('abort', done));
                console.log(`aborted ${request.signal.aborted}`);
                throw request.signal.reason;
            }
            return new Response((async function* () {
                try { for (;;) yield 'x'.repeat(1 << 16); } finally { console.log('ended'); }
            })());
        }";
    let mut site = Site::new(code).await;
    let mut client = site.connect().await;
    client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(site.controller.line().await, "asked");
    drop(client);
    assert_eq!(site.controller.line().await, "aborted true");
    let mut client = site.connect().await;
    client.send(b"GET /s HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.head().await.unwrap();
    client.chunk().await.unwrap();
    drop(client);
    assert_eq!(site.controller.line().await, "ended");
    site.close();
    assert_eq!(site.end().await, "");
}

#[tokio::test]
async fn a_connection_is_used_again_and_requests_may_come_before_their_answers() {
    let code = "
        let count = 0;
        export function fetch() { count += 1; return new Response(String(count)); }";
    let site = Site::new(code).await;
    let mut client = site.connect().await;
    for expected in ["1", "2"] {
        assert_eq!(client.get("/").await.unwrap().text(), expected);
    }
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3).as_bytes()).await;
    for expected in ["3", "4", "5"] {
        assert_eq!(client.answer().await.unwrap().text(), expected);
    }
    let path = site.booth.folder.path().join("app.sock");
    let mut client = Client::new(UnixStream::connect(path).await.unwrap());
    assert_eq!(client.get("/").await.unwrap().text(), "6");
    client.send(b"HEAD / HTTP/1.0\r\n\r\n").await;
    let (_, head) = client.head().await.unwrap();
    assert!(head.contains("content-length: 1"), "{head}");
    // Nothing follows, and that client has not asked to stay.
    assert!(!client.more().await);
}

#[tokio::test]
async fn what_is_too_long_or_no_request_is_answered_before_the_service_is_asked() {
    let code = "export async function fetch(request) { return new Response(String((await request.bytes()).length)); }";
    let site = Site::held(code, None, Some(100_000)).await;
    let long = "x".repeat(100_001);
    assert_eq!(site.ask(&post("/", &long[1..])).await.text(), "100000");
    assert_eq!(site.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n").await.status, 413);
    let chunked = format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n{long}");
    assert_eq!(site.ask(&chunked).await.status, 413);
    for (wrong, status) in [
        ("hello\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (&*format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"), 431),
    ] {
        assert_eq!(site.ask(wrong).await.status, status, "{}", &wrong[..wrong.len().min(40)]);
    }
    assert_eq!(site.get("/").await.text(), "0");
}

#[tokio::test]
async fn bodies_for_which_there_is_no_room_are_answered_503_and_others_go_on() {
    let code = "
        export async function fetch(request) {
            if (request.method === 'GET') return new Response('fine');
            console.log('held');
            await new Promise((done) => request.signal.addEventListener('abort', done));
        }";
    let mut site = Site::new(code).await;
    let body = "x".repeat(4 << 20);
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut client = site.connect().await;
        client.send(post("/", &body).as_bytes()).await;
        assert_eq!(site.controller.line().await, "held");
        held.push(client);
    }
    assert_eq!(site.ask(&post("/", "x")).await.status, 503);
    assert_eq!(site.get("/").await.text(), "fine");
}

#[tokio::test]
async fn a_large_body_goes_through_whole() {
    let code = "
        export async function fetch(request) {
            const bytes = await request.bytes();
            return new Response(bytes);
        }";
    let site = Site::new(code).await;
    let mut client = site.connect().await;
    let body: Vec<u8> = (0..4 << 20).map(|n: u32| ((n * 31) >> 3) as u8).collect();
    client
        .send(format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())
        .await;
    client.send(&body).await;
    assert!(client.answer().await.unwrap().body == body);
}

#[tokio::test]
async fn a_service_that_closes_answers_what_it_was_asked_and_lets_its_clients_go() {
    let code = "
        let release;
        const released = new Promise((resolve) => (release = resolve));
        export function health() { release(); }
        export async function fetch(request) {
            if (!request.url.endsWith('/slow')) return new Response('fast');
            console.log('asked');
            await released;
            return new Response('slow');
        }
        export function close() { console.log('closed'); }";
    let mut site = Site::new(code).await;
    let [mut idle, mut fresh, mut slow, mut busy] =
        [site.connect().await, site.connect().await, site.connect().await, site.connect().await];
    assert_eq!(idle.get("/").await.unwrap().text(), "fast");
    slow.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(site.controller.line().await, "asked");
    site.close();
    // Who goes on asking is told to go, or hung up on after a while; who has asked is answered, however long that takes.
    while busy.get("/").await.is_some_and(|answer| answer.header("connection") != Some("close")) {}
    for client in [&mut idle, &mut fresh, &mut busy] {
        assert!(!client.more().await);
    }
    site.booth.host.write_all(b"{\"type\":\"health\",\"id\":1}\n").unwrap();
    let answer = slow.answer().await.unwrap();
    assert_eq!((answer.text(), answer.header("connection")), ("slow", Some("close")));
    assert_eq!(site.end().await, "closed\n");
}

#[tokio::test]
async fn an_endless_answer_is_told_that_the_service_closes() {
    let code = "
        export function fetch(request) {
            return new Response((async function* () {
                yield 'news';
                await new Promise((done) => request.signal.addEventListener('abort', done));
                yield 'last';
            })());
        }";
    let mut site = Site::new(code).await;
    let mut client = site.connect().await;
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.head().await.unwrap();
    assert_eq!(client.chunk().await.unwrap(), b"news");
    site.close();
    assert_eq!(client.chunk().await.unwrap(), b"last");
    assert_eq!(client.chunk().await.unwrap(), b"");
    assert_eq!(site.end().await, "");
}

#[tokio::test]
async fn under_load_a_closing_service_answers_every_request_that_it_has_taken() {
    let code = "
        let count = 0;
        export async function fetch() {
            count += 1;
            await new Promise((done) => setTimeout(done, 1));
            return new Response('x'.repeat(10000));
        }
        export function close() { console.log(count); }";
    let mut site = Site::new(code).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut client = site.connect().await;
        clients.spawn(async move {
            let mut count = 0;
            while let Some(answer) = client.get("/").await {
                assert_eq!((answer.status, answer.body.len()), (200, 10_000));
                count += 1;
            }
            // No answer was begun that did not come to its end.
            assert_eq!(client.read, b"");
            count
        });
    }
    for _ in 0..20 {
        site.get("/").await;
    }
    site.close();
    let answered: usize = clients.join_all().await.iter().sum();
    assert_eq!(site.end().await, format!("{}\n", answered + 20));
}

#[tokio::test]
async fn a_service_that_listens_and_exports_no_fetch_cannot_start() {
    let mut site = Site::begin("export function start() {}", None, None).await;
    let said = site.hear();
    let places = format!("http={};ipc=", site.address);
    assert!(said.contains("\"failed\"") && said.contains(&format!("nothing answers on {places}")), "{said}");
    assert!(said.contains(": export fetch(request), or take 'listen' out of the manifest\""), "{said}");
}

#[tokio::test]
async fn nobody_is_let_in_before_the_service_has_started_and_none_are_lost() {
    let code = "
        export const start = () => new Promise((done) => setTimeout(done, 50));
        export const fetch = () => new Response('started');";
    let mut site = Site::begin(code, None, None).await;
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.unwrap().text(), "started");
    assert!(site.hear().contains("\"started\""));
}

#[tokio::test]
async fn it_is_served_in_every_sandbox_with_nothing_granted() {
    for sandbox in [Sandbox::Strict, Sandbox::Landlock] {
        let code = "export const fetch = () => new Response('held');";
        let mut site = Site::held(code, Some(nothing(sandbox)), None).await;
        assert_eq!(site.get("/").await.text(), "held");
        // More connections than it may have descriptors wait, and are served in the end.
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(site.connect().await);
        }
        for client in clients {
            let mut client = client;
            assert_eq!(client.get("/").await.unwrap().text(), "held");
        }
        site.close();
        assert_eq!(site.end().await, "");
    }
}

/// `js-http` alone, as a js process that has been taken over would find it; and where it listens.
fn js_http() -> (RunnerProcess, std::os::unix::net::UnixStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (ours, theirs) = stream_pair().unwrap();
    let process = runner(&["js-http", "1", "1000"], &[theirs.as_fd(), listener.as_fd()]);
    (process, ours.into(), listener.local_addr().unwrap())
}

#[tokio::test]
async fn who_breaks_the_rules_is_not_heard_any_more() {
    for wrong in [
        "hello\n".to_owned(),
        "x".repeat((1 << 20) + 1),
        "{\"id\":1,\"payload\":67108865,\"what\":\"piece\"}\n".to_owned(),
        "{\"id\":1,\"payload\":0,\"what\":\"request\"}\n".to_owned(),
    ] {
        let (process, mut socket, _) = js_http();
        // It may have hung up before it has read all of it.
        let _ = socket.write_all(wrong.as_bytes());
        assert_eq!(process.wait().await, Some(1), "{}", &wrong[..wrong.len().min(80)]);
    }
    let (process, socket, _) = js_http();
    drop(socket);
    assert_eq!(process.wait().await, Some(0));
}

#[tokio::test]
async fn more_pieces_than_were_asked_for_end_it_and_answers_to_nobody_do_not() {
    let (process, mut socket, address) = js_http();
    let mut client = Client::new(TcpStream::connect(address).await.unwrap());
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut request = String::new();
    BufReader::new(&socket).read_line(&mut request).unwrap();
    assert_eq!(
        request,
        "{\"id\":1,\"payload\":0,\"what\":{\"request\":{\"method\":\"GET\",\"url\":\"http://x/\",\"headers\":\"host:x\\n\"}}}\n"
    );
    let line = |id, what: &str| format!("{{\"id\":{id},\"payload\":1,\"what\":{what}}}\nx");
    let answer = r#"{"answer":{"status":200,"headers":"","more":true}}"#;
    let nobody = [line(7, answer), line(7, "\"piece\""), line(7, r#"{"end":{"whole":false}}"#)].concat();
    let answer =
        format!("{nobody}{}", line(1, answer).replace(":1,\"what", ":0,\"what").trim_end_matches('x'));
    socket.write_all(answer.as_bytes()).unwrap();
    assert_eq!(client.head().await.unwrap().0, 200);
    // All of them at once: none can be taken in between.
    socket.write_all(line(1, "\"piece\"").repeat(9).as_bytes()).unwrap();
    assert_eq!(process.wait().await, Some(1));
}
