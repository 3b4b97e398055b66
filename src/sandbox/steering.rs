//! Several sockets that listen on one address, and which of them a new connection goes to.
//!
//! The kernel asks a small program (classic BPF, which anybody may attach to sockets of its own) for each connection. This one
//! goes by the port that the connection comes from: on one host the kernel hands these out one after the other, so that
//! connections go round; from many hosts they are as good as random. Nothing is counted and nothing is passed on, so a
//! connection costs no more than with one socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most sockets of one address.
pub const MOST_SOCKETS: usize = 1000;

/// Where the header of the network protocol begins, as a program names it (`SKF_NET_OFF`).
const NETWORK_HEADER: u32 = (-0x10_0000_i32).cast_unsigned();

/// Sends new connections to these members only, by their place among the sockets of the address in the order in which they began
/// to listen. `socket` is one of them. Without members, nothing changes.
///
/// # Errors
/// Where the kernel refuses.
pub fn steer(socket: BorrowedFd<'_>, members: &[u32]) -> io::Result<()> {
    if members.is_empty() {
        return Ok(());
    }
    let mut program = program(members);
    let filter = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the structure and the program that it points to outlive the call, which copies both.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Answers with the member whose turn it is.
fn program(members: &[u32]) -> Vec<libc::sock_filter> {
    use libc::{
        BPF_A, BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LSH,
        BPF_MISC, BPF_MOD, BPF_RET, BPF_RSH, BPF_TAX,
    };
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let count = members.len() as u32;
    let mut program = vec![
        // The version of the protocol, and how long the header of version 4 is.
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, NETWORK_HEADER),
        step(BPF_MISC | BPF_TAX, 0, 0, 0),
        step(BPF_ALU | BPF_RSH | BPF_K, 0, 0, 4),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 6),
        step(BPF_LD | BPF_H | BPF_ABS, 0, 0, NETWORK_HEADER + 40),
        step(BPF_JMP | libc::BPF_JA, 0, 0, 5),
        step(BPF_MISC | libc::BPF_TXA, 0, 0, 0),
        step(BPF_ALU | BPF_AND | BPF_K, 0, 0, 15),
        step(BPF_ALU | BPF_LSH | BPF_K, 0, 0, 2),
        step(BPF_MISC | BPF_TAX, 0, 0, 0),
        step(BPF_LD | BPF_H | BPF_IND, 0, 0, NETWORK_HEADER),
        // Ports of one's own choice are even or odd, all of them.
        step(BPF_ALU | BPF_RSH | BPF_K, 0, 0, 1),
        step(BPF_ALU | BPF_MOD | BPF_K, 0, 0, count),
    ];
    let in_order = members.iter().zip(0..).all(|(member, index)| *member == index);
    if in_order {
        program.push(step(BPF_RET | BPF_A, 0, 0, 0));
    } else {
        for (index, member) in members.iter().enumerate() {
            program.push(step(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, index as u32));
            program.push(step(BPF_RET | BPF_K, 0, 0, *member));
        }
        program.push(step(BPF_RET | BPF_K, 0, 0, members.first().copied().unwrap_or_default()));
    }
    program
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

    use super::*;

    fn group(address: SocketAddr, count: usize) -> (SocketAddr, Vec<TcpListener>) {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let mut address = address;
        let mut sockets = Vec::new();
        for _ in 0..count {
            let fd: OwnedFd = socket(family, SocketType::STREAM, None).unwrap();
            sockopt::set_socket_reuseport(&fd, true).unwrap();
            bind(&fd, &address).unwrap();
            listen(&fd, 512).unwrap();
            let listener = TcpListener::from(fd);
            listener.set_nonblocking(true).unwrap();
            address = listener.local_addr().unwrap();
            sockets.push(listener);
        }
        (address, sockets)
    }

    /// The ports of the clients that each of the sockets has got, of 200 clients.
    fn clients_of(address: SocketAddr, sockets: &[TcpListener]) -> Vec<Vec<u16>> {
        let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
        let accepted = |socket: &TcpListener| {
            std::iter::from_fn(|| socket.accept().ok()).map(|(_, client)| client.port()).collect()
        };
        let of_each = sockets.iter().map(accepted).collect();
        drop(clients);
        of_each
    }

    #[test]
    fn the_clients_port_says_which_member_it_is_and_nobody_else_gets_any() {
        for address in
            [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))]
        {
            let (address, sockets) = group(address, 4);
            for members in [vec![0, 1, 2, 3], vec![3, 1], vec![2]] {
                steer(sockets[0].as_fd(), &members).unwrap();
                let of_each = clients_of(address, &sockets);
                assert_eq!(of_each.iter().flatten().count(), 200, "{address}: {members:?}");
                for (index, ports) in of_each.iter().enumerate() {
                    for port in ports {
                        let member = members[usize::from(port / 2) % members.len()];
                        assert_eq!(member as usize, index, "{address}: {members:?}: from port {port}");
                    }
                }
            }
            steer(sockets[1].as_fd(), &[]).unwrap();
            let unchanged = clients_of(address, &sockets);
            assert_eq!(unchanged[2].len(), 200, "without members, nothing changes");
        }
    }
}
