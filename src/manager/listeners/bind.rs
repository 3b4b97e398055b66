//! Sockets that listen, and why one cannot be had: said so that a person knows what to do.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use orchestrator_core::manifest::{ListenAddress, Listener, Service};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
};

/// How many connections wait to be accepted; the kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// A socket that cannot be had. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("service '{service}' cannot listen on {address} ({name}): {why}")]
pub struct BindError {
    service: String,
    name: String,
    address: String,
    why: Why,
}

/// Why it cannot, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("{who} listens there; end that, or choose another address", who = holder.as_deref().unwrap_or("another process"))]
    Taken { holder: Option<String> },
    #[error(
        "ports below 1024 are for root; choose a higher one, or allow it with 'sysctl net.ipv4.ip_unprivileged_port_start={0}'"
    )]
    Privileged(u16),
    #[error("this host has no such address; 'ip address' lists those that it has")]
    NoAddress,
    #[error("there is no folder {0}; make it")]
    NoFolder(String),
    #[error("there is a file that is no socket; remove it, or choose another path")]
    NoSocket,
    #[error("{0}")]
    System(#[from] io::Error),
}

impl BindError {
    pub(super) fn new(service: &Service, listener: &Listener, why: Why) -> Self {
        let (service, name) = (service.name.to_string(), listener.name.clone());
        Self { service, name, address: listener.address.to_string(), why }
    }
}

/// The address that is bound, once it is sure that nobody else has it: sockets that share an address would share it with a
/// stranger's as well.
pub(super) fn claim(wanted: &ListenAddress) -> Result<SocketAddr, Why> {
    let candidates = match wanted {
        ListenAddress::Tcp(address) => vec![*address],
        ListenAddress::Port(port) => {
            vec![(Ipv6Addr::UNSPECIFIED, *port).into(), (Ipv4Addr::UNSPECIFIED, *port).into()]
        }
        ListenAddress::Unix(_) => return Err(Why::NoSocket),
    };
    let mut last = Why::NoAddress;
    for address in candidates {
        match alone(address) {
            Ok(()) => return Ok(address),
            Err(Errno::ADDRINUSE) => return Err(Why::Taken { holder: holder(address.port()) }),
            Err(Errno::ACCESS) => return Err(Why::Privileged(address.port())),
            // A host without IPv6 has the other one.
            Err(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => last = Why::NoAddress,
            Err(errno) => last = Why::System(errno.into()),
        }
    }
    Err(last)
}

fn alone(address: SocketAddr) -> Result<(), Errno> {
    let socket = of_family(address)?;
    bind(&socket, &address)?;
    listen(&socket, 1)
}

/// One of several that listen there.
pub(super) fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = of_family(address)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn of_family(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of an orchestrator that has just ended are no reason to wait.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    Ok(socket)
}

/// One that listens at a path. What is left there of somebody who has ended is removed.
pub(super) fn unix(path: &Path) -> Result<OwnedFd, Why> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(Why::NoSocket),
        Ok(_) if !is_left_behind(path)? => return Err(Why::Taken { holder: None }),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(Why::NoFolder(folder.display().to_string()));
    }
    let flags = SocketFlags::CLOEXEC;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(io::Error::from)?;
    bind(&socket, &SocketAddrUnix::new(path).map_err(io::Error::from)?).map_err(io::Error::from)?;
    listen(&socket, BACKLOG).map_err(io::Error::from)?;
    Ok(socket)
}

/// Whether nobody listens there any more. Who cannot be asked is somebody.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(connect(&socket, &SocketAddrUnix::new(path)?) == Err(Errno::CONNREFUSED))
}

/// Who listens on this port, where this user can see it: `node (process 17)`.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(|line| listening(line, port)).collect::<Vec<_>>())
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.find_map(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let mut targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        let holds = targets.any(|target| {
            let target = target.to_string_lossy();
            inodes.iter().any(|inode| target == format!("socket:[{inode}]"))
        });
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|_| holds)?;
        Some(format!("'{}' (process {pid})", name.trim()))
    })
}

/// The inode of a line of the kernel's table, if it listens on this port.
fn listening(line: &str, port: u16) -> Option<String> {
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let local = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (local == port && state == "0A").then(|| fields.nth(5).map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn only_what_nobody_listens_at_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        drop(UnixListener::bind(path("left")).unwrap());
        assert!(unix(&path("left")).is_ok());
        let _live = UnixListener::bind(path("live")).unwrap();
        let _other = UnixDatagram::bind(path("other")).unwrap();
        for name in ["live", "other"] {
            assert!(matches!(unix(&path(name)), Err(Why::Taken { .. })), "{name}");
            assert!(path(name).exists(), "{name}");
        }
    }
}
