//! [`Origin`]: how a runner comes by what it is given at its start, its ticket and what goes with it: born with it as a
//! process, handed it as the first process of a container.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use orchestrator_port::launch::{DESCRIPTOR, HOST_DESCRIPTOR, LONGEST_TICKET, Ticket};
use orchestrator_port::{container, gateway};
use orchestrator_sandbox::descriptors::{connect_packets, inherited, receive_packet};

/// The longest packet that hands something over.
const LONGEST_HAND_OVER: usize = 64;

/// What the runner was started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Process,
    Container,
}

/// Why a runner does not have what it is to be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TicketError {
    #[error("failed to read the ticket")]
    Read(#[source] io::Error),
    #[error("failed to understand the ticket")]
    Text(#[source] serde_json::Error),
    #[error("failed to take over what goes with the ticket")]
    Given(#[source] io::Error),
}

/// What goes with a ticket.
#[derive(Debug)]
pub(crate) struct Given {
    /// For the service's process, to speak on.
    pub(crate) host: OwnedFd,
    /// The line to the gateway, where the ticket says that there is one.
    pub(crate) gateway: Option<OwnedFd>,
    /// What the service listens on, in the ticket's order.
    pub(crate) listeners: Vec<OwnedFd>,
}

impl Origin {
    /// The ticket, which can be read once.
    pub(crate) fn ticket(self) -> Result<Ticket, TicketError> {
        let text = match self {
            Self::Process => inherited(DESCRIPTOR).and_then(|ticket| read(File::from(ticket))),
            Self::Container => read(io::stdin().lock()),
        };
        serde_json::from_slice(&text.map_err(TicketError::Read)?).map_err(TicketError::Text)
    }

    /// What goes with this ticket.
    pub(crate) fn given(self, ticket: &Ticket) -> Result<Given, TicketError> {
        let has_network = ticket.confinement.as_ref().is_some_and(|confinement| confinement.network);
        let given = match self {
            Self::Process => born_with(has_network, ticket.listen.len()),
            Self::Container => handed_over(ticket, has_network),
        };
        given.map_err(TicketError::Given)
    }
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(LONGEST_TICKET as u64).read_to_end(&mut text)?;
    Ok(text)
}

/// The descriptors that it has from its beginning.
fn born_with(has_network: bool, listeners: usize) -> io::Result<Given> {
    let host = inherited(HOST_DESCRIPTOR)?;
    let gateway = has_network.then(|| inherited(gateway::DESCRIPTOR)).transpose()?;
    let first = if has_network { gateway::DESCRIPTOR + 1 } else { HOST_DESCRIPTOR + 1 };
    let listeners = (first..).take(listeners).map(inherited).collect::<io::Result<_>>()?;
    Ok(Given { host, gateway, listeners })
}

/// The descriptors that are handed over beside the start's socket.
fn handed_over(ticket: &Ticket, has_network: bool) -> io::Result<Given> {
    let socket = connect_packets(&ticket.socket.with_file_name(container::HAND_OVER))?;
    let packet = receive_packet(&socket, LONGEST_HAND_OVER)?;
    let mut descriptors = packet.into_iter().flat_map(|packet| packet.descriptors);
    let host = descriptors.next().ok_or(io::ErrorKind::UnexpectedEof)?;
    let gateway = if has_network { descriptors.next() } else { None };
    Ok(Given { host, gateway, listeners: descriptors.collect() })
}
