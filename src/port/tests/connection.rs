//! What a ConnectionPort promises, held by both kinds of it; and what a WebSocket refuses.

#![expect(clippy::unwrap_used, reason = "the helpers of tests, too, may fail by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use orchestrator_port::message::control::{FromRemote, SILENCE_LIMIT, Stream, ToRemote};
use orchestrator_port::{
    ConnectionPort, Frame, HandshakeError, LONGEST_HEADER, Malformed, PortClosed, Token, channel, websocket,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Far longer than anything here takes: only what hangs meets it.
const DEADLINE: Duration = Duration::from_secs(30);

struct Listener {
    listener: UnixListener,
    socket: PathBuf,
    _folder: TempDir,
}

impl Listener {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("port");
        Self { listener: UnixListener::bind(&socket).unwrap(), socket, _folder: folder }
    }

    async fn accept(&self, token: &Token) -> Result<ConnectionPort, HandshakeError> {
        let (stream, _) = self.listener.accept().await.unwrap();
        websocket::accept(stream, token, DEADLINE).await
    }

    /// A connection whose other end is bytes in a test's hands, after an upgrade as it should be.
    async fn raw(&self) -> (ConnectionPort, UnixStream) {
        let token = Token::generate();
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        let request = request("orchestrator.v1", &format!("Authorization: Bearer {}\r\n", token.to_hex()));
        stream.write_all(request.as_bytes()).await.unwrap();
        let port = self.accept(&token).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 101"));
        (port, stream)
    }
}

async fn websocket_pair() -> (ConnectionPort, ConnectionPort) {
    let listener = Listener::new();
    let token = Token::generate();
    let (accepted, connected) = tokio::join!(listener.accept(&token), connect(&listener.socket, &token));
    (accepted.unwrap(), connected.unwrap())
}

async fn pairs() -> [(ConnectionPort, ConnectionPort); 3] {
    let (right, left) = websocket_pair().await;
    [channel::pair(), websocket_pair().await, (left, right)]
}

fn request(version: &str, more: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: controller\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: {version}\r\n{more}\r\n"
    )
}

/// The head of an HTTP answer.
async fn answer(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn close() -> Frame {
    Frame::control(&ToRemote::Close, Bytes::new())
}

fn output(payload: Vec<u8>) -> Frame {
    Frame::control(&FromRemote::Output { stream: Stream::Stdout, lost: 0 }, payload.into())
}

async fn connect(socket: &Path, token: &Token) -> Result<ConnectionPort, HandshakeError> {
    websocket::connect(UnixStream::connect(socket).await.unwrap(), token).await
}

#[tokio::test]
async fn messages_arrive_whole_and_in_order() {
    for (left, right) in pairs().await {
        let ((sender, _left), (_right, mut receiver)) = (left.split(), right.split());
        let sent: Vec<_> = (0..200usize).map(|n| output(vec![b'x'; n * 400])).collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            for frame in sent {
                sender.send(frame).await.unwrap();
            }
            sender.close().await;
        });
        for frame in expected {
            assert_eq!(receiver.receive().await, Ok(frame));
        }
        assert_eq!(receiver.receive().await, Err(PortClosed::ByPeer));
        assert_eq!(receiver.receive().await, Err(PortClosed::ByPeer));
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn an_end_that_dies_is_told_from_one_that_closes() {
    for (left, right) in pairs().await {
        let (sender, mut receiver) = left.split();
        drop(right.split().1);
        assert_eq!(receiver.receive().await, Err(PortClosed::Lost));
        // What is sent may still be queued before the loss is met, but not for ever.
        while sender.send(close()).await.is_ok() {}
    }
}

#[tokio::test]
async fn dropping_the_last_sender_closes() {
    for (left, right) in pairs().await {
        let (sender, _receiver) = left.split();
        let (_sender, mut receiver) = right.split();
        sender.send(close()).await.unwrap();
        drop(sender);
        assert_eq!(receiver.receive().await, Ok(close()));
        assert_eq!(receiver.receive().await, Err(PortClosed::ByPeer));
    }
}

#[tokio::test]
async fn after_closing_nothing_is_sent() {
    for (left, _right) in pairs().await {
        let (sender, _receiver) = left.split();
        sender.close().await;
        assert_eq!(sender.send(close()).await, Err(PortClosed::Here));
        sender.close().await;
    }
}

#[tokio::test]
async fn a_message_over_a_limit_is_not_sent_and_the_connection_stays() {
    for (left, right) in pairs().await {
        let ((sender, _left), (_right, mut receiver)) = (left.split(), right.split());
        let long = Frame { header: vec![b' '; LONGEST_HEADER + 1].into(), ..close() };
        let refused = PortClosed::Malformed(Malformed::Header(LONGEST_HEADER + 1));
        assert_eq!(sender.send(long).await, Err(refused));
        sender.send(close()).await.unwrap();
        assert_eq!(receiver.receive().await, Ok(close()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_slows_its_sender() {
    for (left, right) in pairs().await {
        let ((sender, _left), (_right, mut receiver)) = (left.split(), right.split());
        let mut sent = 0;
        // The clock is paused: it jumps to the deadline only when nothing else can happen, so that send hangs.
        while tokio::time::timeout(DEADLINE, sender.send(output(vec![0; 1_000_000]))).await.is_ok() {
            sent += 1;
            assert!(sent < 20, "far more is queued than the bound allows");
        }
        for _ in 0..sent {
            receiver.receive().await.unwrap();
        }
    }
}

#[tokio::test]
async fn receiving_can_be_given_up_and_taken_up_again() {
    for (left, right) in pairs().await {
        let ((sender, _left), (_right, mut receiver)) = (left.split(), right.split());
        for n in 0..50 {
            sender.send(output(vec![n; 5000])).await.unwrap();
            let frame = loop {
                tokio::select! {
                    biased;
                    frame = receiver.receive() => break frame,
                    () = tokio::task::yield_now() => {}
                }
            };
            assert_eq!(frame, Ok(output(vec![n; 5000])));
        }
    }
}

#[tokio::test]
async fn who_has_another_token_or_version_or_none_is_refused_alike() {
    let listener = Listener::new();
    let token = Token::generate();
    let bearer = format!("Authorization: Bearer {}\r\n", token.to_hex());
    let other = format!("Authorization: Bearer {}\r\n", Token::generate().to_hex());
    let mut answers = Vec::new();
    for (version, headers) in [
        ("orchestrator.v1", other.clone()),
        ("orchestrator.v1", String::new()),
        ("orchestrator.v1", "Authorization: Bearer 12\r\n".into()),
        ("orchestrator.v1", format!("{bearer}{other}")),
        ("orchestrator.v0", bearer),
    ] {
        let mut stream = UnixStream::connect(&listener.socket).await.unwrap();
        stream.write_all(request(version, &headers).as_bytes()).await.unwrap();
        let refused = listener.accept(&token).await.unwrap_err();
        assert!(matches!(refused, HandshakeError::Refused), "{refused:?}");
        answers.push(answer(&mut stream).await);
    }
    assert!(answers[0].starts_with("HTTP/1.1 401"), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn the_connecting_end_is_told_that_it_was_refused() {
    let listener = Listener::new();
    let (ours, theirs) = (Token::generate(), Token::generate());
    let (accepted, connected) = tokio::join!(listener.accept(&ours), connect(&listener.socket, &theirs));
    assert!(matches!(accepted, Err(HandshakeError::Refused)));
    assert!(matches!(connected, Err(HandshakeError::Refused)));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_a_deadline() {
    let listener = Listener::new();
    let mut stream = UnixStream::connect(&listener.socket).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let late = listener.accept(&Token::generate()).await.unwrap_err();
    assert!(matches!(late, HandshakeError::Late));
}

#[tokio::test]
async fn what_is_no_websocket_is_refused() {
    let listener = Listener::new();
    let mut stream = UnixStream::connect(&listener.socket).await.unwrap();
    stream.write_all(b"\x16\x03\x01 hello\r\n\r\n").await.unwrap();
    assert!(matches!(listener.accept(&Token::generate()).await, Err(HandshakeError::Refused)));
}

#[tokio::test]
async fn an_oversized_message_ends_its_own_connection_only() {
    let listener = Listener::new();
    let (port, mut stream) = listener.raw().await;
    let ((other, _other), (_sender, mut other_receiver)) = {
        let (left, right) = websocket_pair().await;
        (left.split(), right.split())
    };
    // The head of a masked binary frame of 5 MiB.
    let mut head = vec![0x82, 0xff];
    head.extend((5u64 << 20).to_be_bytes());
    head.extend([0; 4]);
    stream.write_all(&head).await.unwrap();
    let (_sender, mut receiver) = port.split();
    let too_long = PortClosed::Malformed(Malformed::Message(5 << 20));
    assert_eq!(receiver.receive().await, Err(too_long));
    other.send(close()).await.unwrap();
    assert_eq!(other_receiver.receive().await, Ok(close()));
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection_with_its_reason() {
    for (frame, why) in [
        // Masked with zeros: a text, and a binary message of one byte.
        (vec![0x81, 0x81, 0, 0, 0, 0, b'x'], Malformed::NotBinary),
        (vec![0x82, 0x81, 0, 0, 0, 0, b'x'], Malformed::Short(1)),
    ] {
        let listener = Listener::new();
        let (port, mut stream) = listener.raw().await;
        stream.write_all(&frame).await.unwrap();
        assert_eq!(port.split().1.receive().await, Err(PortClosed::Malformed(why)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_end_is_given_up() {
    let listener = Listener::new();
    let before = tokio::time::Instant::now();
    let (port, _stream) = listener.raw().await;
    assert_eq!(port.split().1.receive().await, Err(PortClosed::Silent));
    assert!(before.elapsed() >= SILENCE_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_kept_by_pings() {
    let (left, right) = websocket_pair().await;
    let ((_left, mut left), (_right, mut right)) = (left.split(), right.split());
    let quiet = SILENCE_LIMIT * 20;
    let both = async { tokio::join!(left.receive(), right.receive()) };
    assert!(tokio::time::timeout(quiet, both).await.is_err(), "the connection ended by itself");
}
