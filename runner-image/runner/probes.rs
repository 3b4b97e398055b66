//! Probes: what the controller has tried from inside the environment, each with its own time limit. A failure is a
//! few words for a person.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchestrator_port::message::control::Probe;
use orchestrator_sandbox::Pid;
use orchestrator_sandbox::tree;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::chain;
use crate::command::Places;
use crate::init::Init;
use crate::service_process::{Surroundings, null};
use crate::source::Source;

/// The most of an HTTP answer that is read in search of its status.
const LONGEST_STATUS: usize = 1024;

/// How much of a failed command's last words is told, in characters.
const LAST_WORDS: usize = 200;

/// Tries things beside a service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Prober {
    pub(crate) init: Init,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) places: Arc<Places>,
}

impl Prober {
    /// Answers with what went wrong, if anything did.
    pub(crate) async fn probe(&self, probe: &Probe, limit: Duration) -> Option<String> {
        let late = || Some(format!("no answer within {}", seconds(limit)));
        timeout(limit, self.attempt(probe)).await.unwrap_or_else(|_| late())
    }

    async fn attempt(&self, probe: &Probe) -> Option<String> {
        let tried = match probe {
            Probe::Tcp(port) => connect(*port).await.map(drop).map_err(|error| network(&error)),
            Probe::Http { port, path } => http(*port, path).await,
            Probe::Exec(command) => self.execute(command).await,
        };
        tried.err()
    }

    async fn execute(&self, command: &[String]) -> Result<(), String> {
        let (words, stderr) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
        let null = null().map_err(|error| chain(&error))?;
        let command = command.iter().map(|argument| self.places.fill(argument)).collect();
        let started = self.surroundings.start(command, &[&null, &null, &stderr], &self.places);
        let child = started.map_err(|error| chain(&error))?;
        drop(stderr);
        let ended = self.init.watch(child.pid);
        let _kill = KillUnreaped { pid: child.pid, init: &self.init };
        let (finish, finished) = watch::channel(false);
        let source = Source::new(words, finished).map_err(|error| error.to_string())?;
        let words = tokio::spawn(last_line(source));
        let ended = ended.await;
        // Somebody whom it has left behind may hold the pipe.
        let _ = finish.send(true);
        let line = words.await.unwrap_or_default();
        match ended.map(|ended| (ended.code, ended.signal)) {
            Ok((Some(0), _)) => Ok(()),
            Ok((Some(code), _)) if line.is_empty() => Err(format!("exit code {code}")),
            Ok((Some(code), _)) => Err(format!("exit code {code}: {line}")),
            Ok((None, Some(signal))) => Err(format!("ended by signal {signal}")),
            Ok((None, None)) | Err(_) => Err("ended in an unknown way".into()),
        }
    }
}

/// Kills a command that nobody waits for any more.
struct KillUnreaped<'a> {
    pid: Pid,
    init: &'a Init,
}

impl Drop for KillUnreaped<'_> {
    fn drop(&mut self) {
        if self.init.has(self.pid) {
            tree::kill_tree(self.pid);
        }
    }
}

/// The last line that is not empty, or its beginning.
async fn last_line(mut source: Source) -> String {
    let mut last = Vec::new();
    while let Ok(Some(bytes)) = source.read::<4096, _>(Bytes::copy_from_slice).await {
        last.extend_from_slice(&bytes);
        let kept = last.trim_ascii_end();
        let start = kept.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        // A line without an end is not kept whole.
        last = last[start..].iter().copied().take(4 * LAST_WORDS).collect();
    }
    String::from_utf8_lossy(last.trim_ascii()).chars().filter(|c| !c.is_control()).take(LAST_WORDS).collect()
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    match TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
        Ok(stream) => Ok(stream),
        // What is told is why the first one failed: there may be no second one on this host.
        Err(error) => {
            TcpStream::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await.map_err(|_| error)
        }
    }
}

async fn http(port: u16, path: &str) -> Result<(), String> {
    if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("no path to ask for: {path:?}"));
    }
    let mut stream = connect(port).await.map_err(|error| network(&error))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: orchestrator\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| network(&error))?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') && answer.len() < LONGEST_STATUS {
        let count = stream.read_buf(&mut answer).await.map_err(|error| network(&error))?;
        if count == 0 {
            break;
        }
    }
    match status(&answer) {
        Some(200..400) => Ok(()),
        Some(status) => Err(format!("status {status}")),
        None => Err("the answer is no HTTP".into()),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|&byte| byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn network(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset => "connection reset".into(),
        _ => error.to_string(),
    }
}

/// A duration, in as few characters as it takes.
fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 || duration.as_secs() >= 1 {
        format!("{} s", duration.as_secs_f64())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\nA: b\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 503\r\n"), Some(503));
        for none in ["", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1\r\n", "HTTP/2 200\r\n"] {
            assert_eq!(status(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_time_limit_is_short_to_read() {
        let texts = [5000, 1500, 200, 60_000].map(|millis| seconds(Duration::from_millis(millis)));
        assert_eq!(texts, ["5 s", "1.5 s", "200 ms", "60 s"]);
    }
}
