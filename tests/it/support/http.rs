//! [`Client`] and [`Load`]: those who ask a service of the tests for `/` over HTTP, one after the other or all the time.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{DEADLINE, wait_for};

/// How many clients ask at a time.
const CLIENTS: usize = 12;

/// Of so many clients, one connects anew for each request.
const FRESH: usize = 3;

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    listener.local_addr().expect("it is bound").port()
}

/// The status and the body of one answer.
pub(crate) fn get(port: u16) -> (u16, String) {
    Client::new(0, port).get().expect("it is served")
}

/// A client that keeps its connection as long as it may.
struct Client {
    number: usize,
    port: u16,
    connection: Option<Connection>,
}

struct Connection {
    stream: BufReader<TcpStream>,
    /// The last answer that came over it.
    last: Option<String>,
}

/// A request that was not answered by a status 200.
pub(crate) struct Failure {
    /// Whose it was.
    pub(crate) client: usize,
    /// Whether a connection was there: it was not refused.
    pub(crate) connected: bool,
    /// What had been answered over this connection before.
    pub(crate) last: Option<String>,
    why: String,
}

impl Client {
    fn new(number: usize, port: u16) -> Self {
        Self { number, port, connection: None }
    }

    /// The status and the body of an answer.
    fn get(&mut self) -> Result<(u16, String), Failure> {
        let client = self.number;
        let failed =
            |connected, last, why: io::Error| Err(Failure { client, connected, last, why: why.to_string() });
        let mut connection = match self.connection.take().map_or_else(|| connect(self.port), Ok) {
            Ok(connection) => connection,
            Err(error) => return failed(false, None, error),
        };
        match exchange(&mut connection.stream) {
            Ok(((status, body), stays)) => {
                connection.last = Some(body.clone());
                self.connection = stays.then_some(connection);
                Ok((status, body))
            }
            Err(error) => failed(true, connection.last, error),
        }
    }
}

fn connect(port: u16) -> io::Result<Connection> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(Connection { stream: BufReader::new(stream), last: None })
}

/// An answer, and whether the connection stays.
fn exchange(connection: &mut BufReader<TcpStream>) -> io::Result<((u16, String), bool)> {
    connection.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut status, mut length, mut chunked, mut stays) = (0, None, false, true);
    for number in 0.. {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
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
        read_chunks(connection, &mut body)?;
    } else if let Some(length) = length {
        body.resize(length, 0);
        connection.read_exact(&mut body)?;
    } else {
        connection.read_to_end(&mut body)?;
        stays = false;
    }
    Ok(((status, String::from_utf8_lossy(&body).into_owned()), stays))
}

fn read_chunks(connection: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut size = String::new();
        connection.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        connection.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(());
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Clients that ask all the time, some on connections that they keep and some not.
pub(crate) struct Load {
    clients: Vec<thread::JoinHandle<()>>,
    common: Arc<Common>,
}

#[derive(Default)]
struct Common {
    stop: AtomicBool,
    /// How many requests each client has seen the end of.
    ended: [AtomicU64; CLIENTS],
    failures: Mutex<Vec<Failure>>,
}

impl Load {
    pub(crate) fn start(port: u16) -> Self {
        let common = Arc::<Common>::default();
        let clients = (0..CLIENTS).map(|number| {
            let common = Arc::clone(&common);
            thread::spawn(move || common.ask(Client::new(number, port)))
        });
        Self { clients: clients.collect(), common }
    }

    /// Waits until each client has asked something after now, and seen what became of it.
    pub(crate) fn go_on(&self) {
        let ended = || self.common.ended.iter().map(|count| count.load(Ordering::Relaxed));
        // The first to end may have begun before.
        let enough: Vec<u64> = ended().map(|count| count + 2).collect();
        wait_for("every client to be answered", || {
            let all = ended().zip(&enough).all(|(count, enough)| count >= *enough);
            all.then_some(()).ok_or_else(|| format!("{:?} of {enough:?}", ended().collect::<Vec<_>>()))
        });
    }

    /// What has failed since this was asked before.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.common.failures()
    }

    /// How many requests have ended, one way or the other, and which of them failed.
    pub(crate) fn end(self) -> (u64, Vec<Failure>) {
        self.common.stop.store(true, Ordering::Relaxed);
        let Self { clients, common } = self;
        for client in clients {
            client.join().expect("a client goes on");
        }
        let ended = common.ended.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        (ended, common.failures())
    }
}

impl Common {
    fn ask(&self, mut client: Client) {
        while !self.stop.load(Ordering::Relaxed) {
            let failure = match client.get() {
                Ok((200, _)) => None,
                Ok((status, body)) => {
                    let why = format!("status {status}: {body}");
                    Some(Failure { client: client.number, connected: true, last: None, why })
                }
                Err(failure) => Some(failure),
            };
            self.lock().extend(failure);
            if client.number.is_multiple_of(FRESH) {
                client.connection = None;
            }
            self.ended[client.number].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn failures(&self) -> Vec<Failure> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, connected, last, why } = self;
        let doing = if *connected { "asking" } else { "connecting" };
        write!(f, "client {client}, {doing}, on a connection that had answered {last:?}: {why}")
    }
}
