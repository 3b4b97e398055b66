//! The sandbox's way out and in: what the service may connect to is listened for on its loopback, and each connection is
//! handed to the gateway; the gateway's wish to reach one of the service's ports is met from inside.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_port::gateway::{FromGateway, LONGEST_PACKET, Relay, ToGateway};
use orchestrator_sandbox::descriptors::{receive_packet, send_packet};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long the service may take to accept a connection.
const REACH_LIMIT: Duration = Duration::from_secs(5);

/// How many connections to the service may be in the making. Further ones wait.
const REACHES: usize = 32;

/// Listens for everything that is granted; from then on, connections are handed on until the gateway has gone.
///
/// # Errors
/// Where an address cannot be listened on.
pub(crate) fn start(gateway: OwnedFd, relays: &[Relay]) -> io::Result<()> {
    let gateway = Arc::new(UnixStream::from_std(gateway.into())?);
    for relay in relays {
        let listener = std::net::TcpListener::bind(SocketAddr::new(relay.address, relay.port))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(hand_on(listener, relay.to.clone(), Arc::clone(&gateway)));
    }
    tokio::spawn(answer(gateway));
    Ok(())
}

async fn hand_on(listener: TcpListener, to: String, gateway: Arc<UnixStream>) {
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // Out of descriptors, most likely: those that were handed on are given back soon.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(connection) = connection.into_std() else { continue };
        if tell(&gateway, &ToGateway::Open { to: to.clone() }, Some(connection.as_fd())).await.is_err() {
            return;
        }
    }
}

/// Meets what the gateway asks, until it has gone.
async fn answer(gateway: Arc<UnixStream>) {
    let places = Arc::new(Semaphore::new(REACHES));
    let mut reaches = JoinSet::new();
    loop {
        let packet = gateway.async_io(Interest::READABLE, || receive_packet(&*gateway, LONGEST_PACKET)).await;
        let Ok(Some(packet)) = packet else { return };
        let Ok(FromGateway::Reach { id, port }) = serde_json::from_slice(&packet.bytes) else { return };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let gateway = Arc::clone(&gateway);
        while reaches.try_join_next().is_some() {}
        reaches.spawn(async move {
            let reached = timeout(REACH_LIMIT, TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await;
            let reached = reached.map_err(io::Error::from).flatten().and_then(TcpStream::into_std);
            // If the gateway has gone, there is nobody to tell.
            let _ = match reached {
                Ok(connection) => tell(&gateway, &ToGateway::Reached { id }, Some(connection.as_fd())).await,
                Err(error) => {
                    tell(&gateway, &ToGateway::Unreachable { id, error: error.to_string() }, None).await
                }
            };
            drop(place);
        });
    }
}

async fn tell(
    gateway: &UnixStream,
    message: &ToGateway,
    connection: Option<std::os::fd::BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    gateway.async_io(Interest::WRITABLE, || send_packet(gateway, &bytes, connection.as_slice())).await
}
