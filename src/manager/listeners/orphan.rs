//! [`Orphan`]: a socket while there is no process that has it. What has come to it and was not accepted is carried to replicas
//! that serve; where there are none, it waits for the next process, but for HTTP, which is told to come again.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::sync::Arc;

use orchestrator_core::ServiceName;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::Attendance;
use super::door::{PATIENCE, PAUSE, carry_on, refuse};

/// See above.
pub(super) struct Orphan {
    pub(super) service: ServiceName,
    pub(super) socket: Arc<OwnedFd>,
    pub(super) whose: Whose,
    pub(super) attendance: watch::Receiver<Attendance>,
    /// For those that are carried or told at a time. The others wait in the kernel.
    pub(super) room: Arc<Semaphore>,
}

/// How many those are.
pub(super) const AT_ONCE: usize = 64;

/// Who may have a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    /// One replica, by its place; others listen at the address, too.
    One { place: u32, address: SocketAddr, http: bool },
    /// All of them.
    All { http: bool },
}

impl Orphan {
    /// Until the project ends.
    pub(super) async fn watch(mut self) -> io::Result<()> {
        loop {
            match self.see().await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // For want of descriptors, mostly: others give some back.
                Err(error) => {
                    tracing::debug!(service = %self.service, %error, "a socket that is nobody's now");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Waits until it is nobody's and somebody comes, and sees to that. False when the project has ended.
    async fn see(&mut self) -> io::Result<bool> {
        let whose = self.whose;
        let is_orphan = |attendance: &Attendance| whose.are_gone(attendance);
        if self.attendance.wait_for(is_orphan).await.is_err() {
            return Ok(false);
        }
        // Registered anew each time: what was missed meanwhile is seen at once.
        #[expect(
            deprecated,
            reason = "its successor is unsafe, and asks for what an OwnedFd keeps by itself"
        )]
        let knocks = AsyncFd::with_interest(self.socket.try_clone()?, Interest::READABLE)?;
        tokio::select! {
            adopted = self.attendance.wait_for(|attendance| !is_orphan(attendance)) => return Ok(adopted.is_ok()),
            knock = knocks.readable() => drop(knock?),
        }
        drop(knocks);
        self.see_to_it().await?;
        Ok(true)
    }

    /// Somebody has come and found nobody.
    async fn see_to_it(&mut self) -> io::Result<()> {
        let adopted = |attendance: &Attendance| !self.whose.are_gone(attendance);
        tokio::select! {
            _ = self.attendance.wait_for(adopted) => return Ok(()),
            () = sleep(PATIENCE) => {}
        }
        let others = !self.attendance.borrow().ready.is_empty();
        let carried_to = match self.whose {
            Whose::One { address, .. } if others => Some(address),
            Whose::One { http, .. } | Whose::All { http } if http => None,
            _ => {
                // They wait for whoever comes next.
                let _ = self.attendance.changed().await;
                return Ok(());
            }
        };
        while let Ok(place) = Arc::clone(&self.room).acquire_owned().await {
            let Some(connection) = self.next()? else { break };
            // Whoever goes away meanwhile is not missed.
            if let Some(address) = carried_to {
                let connection = TcpStream::from_std(connection.into())?;
                tokio::spawn(async move { (carry_on(&connection, address).await, place) });
            } else {
                // Reading and writing are the same for every stream socket.
                let connection = UnixStream::from_std(net::UnixStream::from(connection))?;
                let service = self.service.clone();
                tokio::spawn(async move { (refuse(connection, &service).await, place) });
            }
        }
        Ok(())
    }

    /// The next connection that waits. Whether accepting waits is a flag that all share who have the socket. It is changed only
    /// while nobody has: no replica is given the socket before this is over.
    fn next(&self) -> io::Result<Option<OwnedFd>> {
        let attendance = self.attendance.borrow();
        if !self.whose.are_gone(&attendance) {
            return Ok(None);
        }
        let flags = fcntl_getfl(&self.socket)?;
        fcntl_setfl(&self.socket, flags | OFlags::NONBLOCK)?;
        let accepted = accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        fcntl_setfl(&self.socket, flags)?;
        match accepted {
            Ok(connection) => Ok(Some(connection)),
            Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Whose {
    fn are_gone(self, attendance: &Attendance) -> bool {
        match self {
            Self::One { place, .. } => !attendance.there.contains(&place),
            Self::All { .. } => attendance.there.is_empty(),
        }
    }
}
