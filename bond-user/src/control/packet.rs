//! A packet socket on a slave: sends frames past the data path, and opens the slave's receive filter.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType,
    addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque},
    bind, send, socket_with,
};

// linux/if_packet.h, as wide as the field they go into.
const PACKET_MR_PROMISC: u16 = 1;
const PACKET_MR_ALLMULTI: u16 = 2;
const PACKET_MREQ_BYTES: libc::socklen_t = 16;
const _: () = assert!(size_of::<libc::packet_mreq>() == PACKET_MREQ_BYTES as usize);
const SOCKADDR_LL_BYTES: SocketAddrLen = 20;
const _: () = assert!(size_of::<libc::sockaddr_ll>() == SOCKADDR_LL_BYTES as usize);

/// An AF_PACKET socket bound to one netdev. It never receives: its protocol is 0, so the kernel copies no frame for it.
#[derive(Debug)]
pub(super) struct PacketSocket {
    socket: OwnedFd,
    ifindex: libc::c_int,
}

impl PacketSocket {
    /// Binds to a netdev of the calling thread's network namespace. Takes CAP_NET_RAW.
    pub(super) fn open(ifindex: u32) -> io::Result<Self> {
        let ifindex = libc::c_int::try_from(ifindex).map_err(io::Error::other)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        bind(&socket, &LinkAddress(ifindex))?;
        Ok(Self { socket, ifindex })
    }

    /// Sends one Ethernet frame, without FCS, through the netdev's queueing discipline. ENETDOWN when the netdev is
    /// down, ENXIO when it is gone.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(&self.socket, frame, SendFlags::empty())?;
        Ok(())
    }

    /// Puts the netdev into promiscuous mode for as long as this socket lives.
    pub(super) fn promiscuous(&self) -> io::Result<()> {
        self.join(PACKET_MR_PROMISC)
    }

    /// Lets the netdev receive all multicast for as long as this socket lives: the groups are joined on the bond, of
    /// which the NIC's filter knows nothing.
    pub(super) fn all_multicast(&self) -> io::Result<()> {
        self.join(PACKET_MR_ALLMULTI)
    }

    /// packet(7), PACKET_ADD_MEMBERSHIP: the kernel counts memberships and takes this one back however the process ends.
    fn join(&self, membership: u16) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: self.ifindex,
            mr_type: membership,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the descriptor is open while `self` lives; PACKET_ADD_MEMBERSHIP reads a `packet_mreq` of that length.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                PACKET_MREQ_BYTES,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A `sockaddr_ll` of that ifindex and no protocol.
struct LinkAddress(libc::c_int);

// SAFETY: `f` gets a pointer to a whole `sockaddr_ll`, alive during the call, and its size.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let address = libc::sockaddr_ll {
            sll_family: AddressFamily::PACKET.as_raw(),
            sll_protocol: 0,
            sll_ifindex: self.0,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        f((&raw const address).cast(), SOCKADDR_LL_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use std::{mem::MaybeUninit, net::Ipv4Addr};

    use rustix::{
        io::Errno,
        net::{RecvFlags, recv},
    };

    use super::*;
    use crate::{
        control::announce::gratuitous_arp,
        netlink::{
            Mac, Netlink, VethSpec,
            testing::{eventually, in_netns, run},
        },
    };

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    /// The ifindexes of a veth pair whose ends are up.
    fn veth() -> (u32, u32) {
        let mut nl = Netlink::new().unwrap();
        nl.create_veth(&VethSpec { name: "v0", peer: "v1", mac: MAC, mtu: 1500, queues: 1 })
            .unwrap();
        let ends = ["v0", "v1"].map(|name| nl.link(name).unwrap().unwrap().index);
        for ifindex in ends {
            nl.set_up(ifindex).unwrap();
        }
        // The poll also activates the queueing disciplines, without which frames are dropped.
        assert_eq!(ends.map(|ifindex| nl.carrier(ifindex).unwrap()), [Some(true); 2]);
        ends.into()
    }

    #[test]
    #[ignore = "needs root"]
    fn a_gratuitous_arp_teaches_the_neighbour() {
        in_netns(|| {
            let (v0, _) = veth();
            run("sysctl -qw net.ipv4.conf.v1.arp_accept=1");
            run("ip addr add 10.9.0.1/24 dev v1");
            PacketSocket::open(v0)
                .unwrap()
                .send(&gratuitous_arp(MAC, Ipv4Addr::new(10, 9, 0, 5)))
                .unwrap();
            eventually("the neighbour learns the address", || {
                run("ip -4 neigh show dev v1").starts_with("10.9.0.5 lladdr 02:00:00:00:00:01 ")
            });
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn it_never_receives_and_says_when_the_netdev_is_down() {
        in_netns(|| {
            let (v0, v1) = veth();
            let (from, to) = (PacketSocket::open(v0).unwrap(), PacketSocket::open(v1).unwrap());
            from.send(&[0xff; 60]).unwrap();
            let mut buffer = [MaybeUninit::<u8>::uninit(); 64];
            assert_eq!(recv(&to, &mut buffer, RecvFlags::empty()).unwrap_err(), Errno::AGAIN);
            Netlink::new().unwrap().set_down(v0).unwrap();
            assert_eq!(from.send(&[0xff; 60]).unwrap_err().raw_os_error(), Some(libc::ENETDOWN));
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn promiscuous_as_long_as_the_socket_lives() {
        in_netns(|| {
            let (v0, _) = veth();
            let promiscuity = || run("ip -d link show v0").contains("promiscuity 1 ");
            let socket = PacketSocket::open(v0).unwrap();
            assert!(!promiscuity());
            socket.promiscuous().unwrap();
            assert!(promiscuity());
            drop(socket);
            // Not at once: a command that another test starts has the socket until its exec.
            eventually("promiscuous mode ends", || !promiscuity());
        });
    }
}
