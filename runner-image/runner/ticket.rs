//! [`Origin`]: how a runner comes by what it is given at its start, its ticket and its line to the gateway: born with
//! them as a process, handed them as the first process of a container.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use orchestrator_port::launch::{DESCRIPTOR, LONGEST_TICKET, Ticket};
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
    #[error("failed to take over the line to the gateway")]
    Line(#[source] io::Error),
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

    /// The line to the gateway, where the ticket says that there is one.
    pub(crate) fn line(self, ticket: &Ticket) -> Result<Option<OwnedFd>, TicketError> {
        if ticket.confinement.as_ref().is_none_or(|confinement| !confinement.network) {
            return Ok(None);
        }
        let line = match self {
            Self::Process => inherited(gateway::DESCRIPTOR),
            Self::Container => handed_over(ticket),
        };
        line.map(Some).map_err(TicketError::Line)
    }
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(LONGEST_TICKET as u64).read_to_end(&mut text)?;
    Ok(text)
}

/// The one descriptor that is handed over beside the start's socket.
fn handed_over(ticket: &Ticket) -> io::Result<OwnedFd> {
    let socket = connect_packets(&ticket.socket.with_file_name(container::HAND_OVER))?;
    let packet = receive_packet(&socket, LONGEST_HAND_OVER)?;
    let descriptor = packet.and_then(|packet| packet.descriptors.into_iter().next());
    descriptor.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
