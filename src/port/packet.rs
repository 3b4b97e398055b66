//! Packets of a fabric: messages with who has sent them, when, and a tag that nobody makes without the key.
//! `docs/fabric-protocol.md` has their form.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The length of a tag, in bytes.
const TAG: usize = 32;

/// The longest header.
const LONGEST_HEADER: usize = 512;

/// Makes packets, and opens those of others that have the same key, prefix and database.
#[derive(Clone)]
pub struct Seal {
    mac: Hmac<Sha256>,
}

/// What a packet says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the protocol: 1.
    pub v: u32,
    /// The session that has sent it.
    pub from: String,
    /// Which packet of that session on that channel it is, from 1.
    pub seq: u64,
    /// The sender's clock, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
}

/// Why a packet is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// It was made with another key, for another channel, or by nobody who has a key.
    #[error("it has another tag")]
    Forged,
    /// It is no packet.
    #[error("it is no packet")]
    Malformed,
}

impl Seal {
    /// With this key, for this prefix and database.
    #[must_use]
    pub fn new(key: &str, prefix: &str, database: u32) -> Self {
        let derived =
            tag(&hmac(key.as_bytes()), &["orchestrator-fabric-1\n", prefix, "\n", &database.to_string()]);
        Self { mac: hmac(&derived) }
    }

    /// A packet for this channel.
    ///
    /// # Panics
    /// Never: a header is plain data.
    #[must_use]
    pub fn seal(&self, channel: &str, header: &Header, messages: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; TAG];
        serde_json::to_writer(&mut packet, header).expect("it is plain data");
        packet.push(b'\n');
        packet.extend_from_slice(messages);
        let mut mac = self.mac.clone();
        mac.update(channel.as_bytes());
        mac.update(b"\n");
        mac.update(&packet[TAG..]);
        packet[..TAG].copy_from_slice(&mac.finalize().into_bytes());
        packet
    }

    /// What is in a packet of this channel.
    ///
    /// # Errors
    /// Where nobody who has the key has made it for this channel.
    pub fn open(&self, channel: &str, packet: &Bytes) -> Result<(Header, Bytes), NotOpened> {
        let (tag, signed) = packet.split_at_checked(TAG).ok_or(NotOpened::Malformed)?;
        let mut mac = self.mac.clone();
        mac.update(channel.as_bytes());
        mac.update(b"\n");
        mac.update(signed);
        mac.verify_slice(tag).map_err(|_| NotOpened::Forged)?;
        let end = signed.iter().take(LONGEST_HEADER).position(|&byte| byte == b'\n');
        let end = end.ok_or(NotOpened::Malformed)?;
        let header: Header = serde_json::from_slice(&signed[..end]).map_err(|_| NotOpened::Malformed)?;
        if header.v != 1 {
            return Err(NotOpened::Malformed);
        }
        Ok((header, packet.slice(TAG + end + 1..)))
    }

    /// A value of a service's configuration, as it is kept.
    #[must_use]
    pub fn seal_value(&self, service: &str, name: &str, json: &[u8]) -> Vec<u8> {
        let mut value = self.value_tag(service, name, json).finalize().into_bytes().to_vec();
        value.extend_from_slice(json);
        value
    }

    /// The JSON of a value that was kept.
    ///
    /// # Errors
    /// Where nobody who has the key has set it.
    pub fn open_value(&self, service: &str, name: &str, value: &Bytes) -> Result<Bytes, NotOpened> {
        let (tag, json) = value.split_at_checked(TAG).ok_or(NotOpened::Malformed)?;
        self.value_tag(service, name, json).verify_slice(tag).map_err(|_| NotOpened::Forged)?;
        Ok(value.slice(TAG..))
    }

    fn value_tag(&self, service: &str, name: &str, json: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for part in ["config\n", service, "\n", name, "\n"] {
            mac.update(part.as_bytes());
        }
        mac.update(json);
        mac
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

/// A new session's number, as it is written.
///
/// # Errors
/// Where the kernel has no random numbers.
pub fn new_session() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(HEXLOWER.encode(&bytes))
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key may have any length")
}

fn tag(mac: &Hmac<Sha256>, parts: &[&str]) -> [u8; TAG] {
    let mut mac = mac.clone();
    parts.iter().for_each(|part| mac.update(part.as_bytes()));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { v: 1, from: "ab".repeat(16), seq: 7, time: 1_700_000_000_000 }
    }

    fn opened(seal: &Seal, channel: &str, packet: &[u8]) -> Result<(Header, Bytes), NotOpened> {
        seal.open(channel, &Bytes::copy_from_slice(packet))
    }

    #[test]
    fn a_packet_is_opened_by_who_has_the_key_and_is_meant() {
        let key = "k".repeat(32);
        let seal = Seal::new(&key, "shop", 0);
        let packet = seal.seal("shop:0:all", &header(), b"{}\n");
        assert_eq!(opened(&seal, "shop:0:all", &packet), Ok((header(), Bytes::from_static(b"{}\n"))));
        assert_eq!(opened(&seal, "shop:0:to:x", &packet), Err(NotOpened::Forged), "another channel's");
        for other in
            [Seal::new(&"l".repeat(32), "shop", 0), Seal::new(&key, "other", 0), Seal::new(&key, "shop", 1)]
        {
            assert_eq!(opened(&other, "shop:0:all", &packet), Err(NotOpened::Forged));
        }
        for index in 0..packet.len() {
            let mut changed = packet.clone();
            changed[index] ^= 1;
            assert_eq!(opened(&seal, "shop:0:all", &changed), Err(NotOpened::Forged), "{index}");
        }
        assert_eq!(opened(&seal, "shop:0:all", b"short"), Err(NotOpened::Malformed));
        let other_version = seal.seal("c", &Header { v: 2, ..header() }, b"");
        assert_eq!(opened(&seal, "c", &other_version), Err(NotOpened::Malformed));
    }

    #[test]
    fn every_language_makes_the_same_tag() {
        // python3 -c 'import hmac,hashlib as h; H=lambda k,m: hmac.new(k,m,h.sha256).digest();
        // print(H(H(b"k"*32,b"orchestrator-fabric-1\nshop\n0"),b"c\n"+b"""{"v":1,...}\n""").hex())'
        let packet = Seal::new(&"k".repeat(32), "shop", 0).seal("c", &header(), b"");
        assert_eq!(HEXLOWER.encode(&packet[..TAG]), EXPECTED);
    }

    const EXPECTED: &str = "2a74dbe73b0681f8da5780a70e5b83cf0a813d157ad7c6cf9041c9ccbbefa132";

    #[test]
    fn a_value_is_bound_to_its_service_and_name() {
        let seal = Seal::new(&"k".repeat(32), "shop", 0);
        let value = Bytes::from(seal.seal_value("web", "limit", b"5"));
        assert_eq!(seal.open_value("web", "limit", &value), Ok(Bytes::from_static(b"5")));
        assert_eq!(seal.open_value("web", "other", &value), Err(NotOpened::Forged));
        assert_eq!(seal.open_value("db", "limit", &value), Err(NotOpened::Forged));
    }
}
