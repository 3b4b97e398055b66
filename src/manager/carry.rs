//! [`carry`]: bytes from one connection to another and back, until both have ended. They stay in the kernel: a pipe in each
//! direction takes them from one socket and gives them to the other, without a copy in between.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How much is under way at most, in each direction. A slow reader slows its writer.
const UNDER_WAY: usize = 1 << 20;

/// Carries both ways. An end of one direction is passed on, and the other goes on.
///
/// # Errors
/// Where one of the connections breaks.
pub(crate) async fn carry(one: &TcpStream, other: &TcpStream) -> io::Result<()> {
    tokio::try_join!(one_way(one, other), one_way(other, one))?;
    Ok(())
}

async fn one_way(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (taken, given): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // A user may have no more room for pipes: then less is under way.
    let _ = fcntl_setpipe_size(&taken, UNDER_WAY);
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        // The pipe is empty here, so it is the connection that has nothing yet where this would wait.
        let take = || Ok(splice(from.as_fd(), None, &given, None, UNDER_WAY, flags)?);
        let mut left = from.async_io(Interest::READABLE, take).await?;
        if left == 0 {
            return Ok(rustix::net::shutdown(to, Shutdown::Write)?);
        }
        while left > 0 {
            let give = || Ok(splice(&taken, None, to.as_fd(), None, left, flags)?);
            left -= to.async_io(Interest::WRITABLE, give).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (connected.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn every_byte_arrives_in_both_directions_and_an_end_is_an_end() {
        let ((mut client, inside), (outside, mut server)) = (pair().await, pair().await);
        let carried = tokio::spawn(async move { carry(&inside, &outside).await });
        let much: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).collect();
        let sent = much.clone();
        let client = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        assert!(received == much, "{} of {} bytes", received.len(), much.len());
        server.write_all(b"that was all").await.unwrap();
        drop(server);
        assert_eq!(client.await.unwrap(), b"that was all");
        carried.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_goes_away_ends_it() {
        let ((client, inside), (outside, mut server)) = (pair().await, pair().await);
        let carried = tokio::spawn(async move { carry(&inside, &outside).await });
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(carried.await.unwrap().is_err());
        let mut rest = Vec::new();
        let _ = server.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
}
