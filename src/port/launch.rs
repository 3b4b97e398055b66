//! What a runner is told at its start, through an inherited descriptor: [`Ticket`].

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::token::{NotAToken, Token};

/// The descriptor through which a runner reads its ticket, and a keeper speaks.
pub const DESCRIPTOR: i32 = 3;

/// Where a runner connects, as whom, and where it works. Written as JSON; the descriptor's end is the ticket's end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The start's own Unix socket.
    pub socket: PathBuf,
    /// The start's token, in hexadecimal: see [`Token::to_hex`].
    pub token: String,
    /// The start's own folder, which is there, is empty, and is nobody else's.
    pub root: PathBuf,
}

impl Ticket {
    /// The token, read.
    ///
    /// # Errors
    /// Where the ticket holds none.
    pub fn token(&self) -> Result<Token, NotAToken> {
        Token::from_hex(&self.token)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("socket", &self.socket)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}
