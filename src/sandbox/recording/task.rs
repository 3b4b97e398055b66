//! [`Task`]: a look into the process whose call is waited for: its memory, its folder, its sockets.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// The longest path that the kernel takes, with its NUL.
const LONGEST_PATH: usize = 4096;

/// The longest address of a socket.
const LONGEST_ADDRESS: usize = 128;

/// A thread of a recorded process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    id: u32,
}

/// The address of a socket, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Internet(SocketAddr),
    /// In the file system, absolute.
    Path(PathBuf),
    /// Of another kind, or without a name.
    Other,
}

impl Task {
    pub(super) fn new(id: u32) -> Self {
        Self { id }
    }

    /// As many bytes of its memory as there are, up to this many.
    pub(super) fn bytes(self, at: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let count = File::open(self.own("mem"))?.read_at(&mut bytes, at)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// A number of eight bytes.
    pub(super) fn number(self, at: u64) -> io::Result<u64> {
        let bytes = self.bytes(at, 8)?;
        bytes.first_chunk().copied().map(u64::from_ne_bytes).ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    /// The path that its call names, absolute as it is written. Links are followed by who looks at it.
    pub(super) fn path(self, folder: i32, at: u64) -> io::Result<PathBuf> {
        let bytes = self.bytes(at, LONGEST_PATH)?;
        let end = bytes.iter().position(|&byte| byte == 0).ok_or(io::ErrorKind::InvalidData)?;
        let path = Path::new(OsStr::from_bytes(&bytes[..end]));
        if path.is_absolute() {
            return Ok(path.into());
        }
        let base = match folder {
            libc::AT_FDCWD => fs::read_link(self.own("cwd"))?,
            descriptor => fs::read_link(self.own(&format!("fd/{descriptor}")))?,
        };
        Ok(base.join(path))
    }

    /// The address of a socket that its call names.
    pub(super) fn address(self, at: u64, length: u64) -> io::Result<Address> {
        let length = usize::try_from(length).unwrap_or(LONGEST_ADDRESS).min(LONGEST_ADDRESS);
        let bytes = self.bytes(at, length)?;
        let address = parse(&bytes);
        match address {
            Address::Path(path) if path.is_relative() => {
                Ok(Address::Path(fs::read_link(self.own("cwd"))?.join(path)))
            }
            other => Ok(other),
        }
    }

    /// A copy of one of its descriptors.
    pub(super) fn descriptor(self, number: u64) -> io::Result<OwnedFd> {
        let number = i32::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(pidfd_getfd(process(self.leader()?)?, number, PidfdGetfdFlags::empty())?)
    }

    /// Its process: the thread that stands for all of them.
    fn leader(self) -> io::Result<u32> {
        let status = fs::read_to_string(self.own("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        line.and_then(|line| line.trim().parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
    }

    fn own(self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.id).into()
    }
}

fn process(id: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// The kernel's `sockaddr`: the family in the host's order, the rest as it goes over the network.
fn parse(bytes: &[u8]) -> Address {
    let Some((family, rest)) = bytes.split_first_chunk() else { return Address::Other };
    let part = |from: usize, length: usize| rest.get(from..from + length);
    let port = part(0, 2).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let address = part(2, 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(Ipv4Addr::from);
            internet(address.map(IpAddr::V4), port)
        }
        libc::AF_INET6 => {
            let address = part(6, 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(Ipv6Addr::from);
            internet(address.map(|address| IpAddr::V6(address).to_canonical()), port)
        }
        libc::AF_UNIX => {
            let name = rest.split(|&byte| byte == 0).next().unwrap_or_default();
            // One that begins with NUL is in no file system.
            if name.is_empty() { Address::Other } else { Address::Path(OsStr::from_bytes(name).into()) }
        }
        _ => Address::Other,
    }
}

fn internet(address: Option<IpAddr>, port: Option<u16>) -> Address {
    match (address, port) {
        (Some(address), Some(port)) => Address::Internet(SocketAddr::new(address, port)),
        _ => Address::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let family = |family: i32| u16::try_from(family).unwrap_or_default().to_ne_bytes().to_vec();
        let read = |number: i32, rest: &[u8]| parse(&[family(number), rest.to_vec()].concat());
        let to = |text: &str| Address::Internet(text.parse().unwrap());
        assert_eq!(read(libc::AF_INET, &[1, 0xbb, 10, 0, 0, 5, 0, 0]), to("10.0.0.5:443"));
        let mut six = vec![0, 80, 0, 0, 0, 0];
        six.extend("::1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(read(libc::AF_INET6, &six), to("[::1]:80"));
        assert_eq!(read(libc::AF_UNIX, b"/run/x\0junk"), Address::Path("/run/x".into()));
        for (number, rest) in
            [(libc::AF_UNIX, &b"\0abstract"[..]), (libc::AF_INET, &[1]), (libc::AF_NETLINK, &[0; 10])]
        {
            assert_eq!(read(number, rest), Address::Other);
        }
        assert_eq!(parse(&[1]), Address::Other);
    }
}
