//! [`Door`]: the socket that HTTP connections go to while no replica is ready. Who comes waits a moment: one may be about to be.
//! Then they are carried to it; or they are told to come again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_core::ServiceName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::Attendance;
use crate::carry::carry;

/// How long somebody waits for a replica.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long who is told to come again may take to say what was wanted, and to hear it.
const SLOWEST: Duration = Duration::from_secs(2);

/// How many wait, are told, or are carried at a time. The others wait in the kernel.
const AT_ONCE: usize = 1024;

/// After the system has refused to accept, for want of descriptors.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// See above.
pub(super) struct Door {
    pub(super) service: ServiceName,
    /// Nobody else has it.
    pub(super) socket: OwnedFd,
    pub(super) address: SocketAddr,
    pub(super) attendance: watch::Receiver<Attendance>,
}

impl Door {
    /// Until the project ends.
    ///
    /// # Errors
    /// Where the socket cannot be waited at.
    pub(super) async fn keep(self) -> io::Result<()> {
        let listener = std::net::TcpListener::from(self.socket);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let room = Arc::new(Semaphore::new(AT_ONCE));
        while let Ok(place) = Arc::clone(&room).acquire_owned().await {
            let Ok((connection, _)) = listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            let (service, address) = (self.service.clone(), self.address);
            let mut attendance = self.attendance.clone();
            tokio::spawn(async move {
                let _place = place;
                let ready = attendance.wait_for(|attendance| !attendance.ready.is_empty());
                let ready = matches!(timeout(PATIENCE, ready).await, Ok(Ok(_)));
                // Whoever goes away meanwhile is not missed.
                let _ = if ready {
                    carry_on(&connection, address).await
                } else {
                    refuse(connection, &service).await
                };
            });
        }
        Ok(())
    }
}

/// To a replica that serves: who connects anew comes to one.
pub(super) async fn carry_on(from: &TcpStream, mut address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() {
        // Who listens everywhere listens there, also where there is no IPv6.
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let to = TcpStream::connect(address).await?;
    carry(from, &to).await
}

/// Hears the request, and answers that nobody is there.
pub(super) async fn refuse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    service: &ServiceName,
) -> io::Result<()> {
    let mut head = Vec::new();
    let heard = async {
        while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < 16 << 10 {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    timeout(SLOWEST, heard).await??;
    if head.is_empty() {
        return Ok(());
    }
    let body = format!("no replica of {service} is ready\n");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    timeout(SLOWEST, stream.write_all(answer.as_bytes())).await??;
    stream.shutdown().await?;
    // Who still sends would otherwise lose the answer with the connection.
    let rest = async {
        while stream.read_buf(&mut Vec::with_capacity(4096)).await? > 0 {}
        io::Result::Ok(())
    };
    timeout(SLOWEST, rest).await?
}
