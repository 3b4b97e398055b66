//! Descriptors that cross from process to process: packets with descriptors in them, programs in memory, and those
//! that a process was born with.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recvmsg, sendmsg, socket_with, socketpair, sockopt::socket_peercred,
};

/// How often it is tried to seal a file whose pages are held by the kernel.
const SEAL_TRIES: u32 = 50;

/// The most descriptors in one packet: what a start is given, with as many sockets as a service can have.
const MOST_DESCRIPTORS: usize = 20;

/// A packet, as it was received.
#[derive(Debug)]
pub struct Packet {
    /// What was said.
    pub bytes: Vec<u8>,
    /// What came with it, closed at exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Two connected sockets that keep packets apart (`SOCK_SEQPACKET`), non-blocking, closed at exec.
///
/// # Errors
/// Where the system refuses.
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Two connected stream sockets, closed at exec. They block.
///
/// # Errors
/// Where the system refuses.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Listens for one process at this path, which is to send and receive packets. Non-blocking, closed at exec.
///
/// # Errors
/// Where the system refuses.
pub fn packet_listener(path: &Path) -> io::Result<OwnedFd> {
    let listener = packet_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    listen(&listener, 1)?;
    Ok(listener)
}

/// Takes the next connection of a [`packet_listener`], with the process id of its other end as the caller knows it.
/// Non-blocking, closed at exec.
///
/// # Errors
/// `WouldBlock` where there is none yet.
pub fn accept_packets(listener: impl AsFd) -> io::Result<(OwnedFd, i32)> {
    let accepted = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = socket_peercred(&accepted)?;
    Ok((accepted, peer.pid.as_raw_nonzero().get()))
}

/// Connects to a [`packet_listener`]. The socket blocks, and is closed at exec.
///
/// # Errors
/// Where nobody listens there.
pub fn connect_packets(path: &Path) -> io::Result<OwnedFd> {
    let socket = packet_socket(SocketFlags::CLOEXEC)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn packet_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends a packet, with the descriptors that there are. An empty packet would be taken for the end, and is refused.
///
/// # Errors
/// `WouldBlock` where the other end is slow, `BrokenPipe` where it is gone.
pub fn send_packet(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a packet of at most `longest` bytes; none when the other end is gone.
///
/// # Errors
/// `WouldBlock` where there is none yet, `InvalidData` where it is longer or carries more descriptors than allowed.
pub fn receive_packet(socket: impl AsFd, longest: usize) -> io::Result<Option<Packet>> {
    let mut bytes = vec![0; longest];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.truncate(received.bytes);
    Ok((received.bytes > 0).then_some(Packet { bytes, descriptors }))
}

/// A file in memory that holds a program and that nobody can change any more. `name` is shown in `/proc` only.
///
/// # Errors
/// Where the system refuses.
pub fn sealed_program(name: &str, program: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(name, flags | MemfdFlags::EXEC) {
        // A kernel before 6.3 does not know the flag, and makes every such file executable.
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    }?;
    let mut file = std::fs::File::from(memory);
    file.write_all(program)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    for _ in 0..SEAL_TRIES {
        match fcntl_add_seals(&file, seals) {
            // The kernel itself still holds on to some of the pages, and has waited for a while already.
            Err(Errno::BUSY) => {}
            sealed => return sealed.map(|()| file.into()).map_err(Into::into),
        }
    }
    Err(Errno::BUSY.into())
}

/// Takes over a descriptor that this process was born with, and closes it at exec. To be called before anything else
/// opens descriptors, else the number may be another's.
///
/// # Errors
/// Where there is none of this number, or it has been taken before.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    if !TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // SAFETY: it is only asked whether it is open; the answer is an error where it is not.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(borrowed)?;
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and given out once only.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
