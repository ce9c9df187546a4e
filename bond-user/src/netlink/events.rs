//! Link events as the kernel broadcasts them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{io::Errno, net::sockopt::set_socket_recv_buffer_size_force};

use super::{
    Link,
    wire::{Wire, messages},
};

/// Room for some thousand events: enough for every netdev of a large host to change at once.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Something about a netdev changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A netdev appeared or changed; this is its state now.
    Link(Box<Link>),
    /// A netdev was deleted or moved to another network namespace.
    Removed { index: u32, name: String },
    /// Events were lost: poll everything again.
    Overrun,
}

/// A socket in RTNLGRP_LINK of the calling thread's network namespace. Poll it for readability, then [`Events::read`].
///
/// Events tell of a change soon, not at once: the kernel delays a NIC's link-down up to a second
/// (`net/core/link_watch.c`). [`Netlink::carrier`](super::Netlink::carrier) forces a delayed event out.
#[derive(Debug)]
pub struct Events {
    wire: Wire,
}

impl Events {
    /// Subscribes. What happened before is not told: poll every link once after this.
    pub fn subscribe() -> io::Result<Self> {
        let wire = Wire::open()?;
        // Forcing takes CAP_NET_ADMIN; without it the host's limit (net.core.rmem_max) holds.
        if set_socket_recv_buffer_size_force(&wire, RECEIVE_BUFFER_BYTES).is_err() {
            wire.socket.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER_BYTES).unwrap_or(i32::MAX))?;
        }
        wire.socket.set_non_blocking(true)?;
        wire.socket.add_membership(libc::RTNLGRP_LINK)?;
        Ok(Self { wire })
    }

    /// Hands over every event that waits, and returns when there is none left.
    pub fn read(&mut self, mut on: impl FnMut(Event)) -> io::Result<()> {
        loop {
            match self.wire.receive() {
                Ok(datagram) => decode(datagram, &mut on),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                    on(Event::Overrun);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => on(Event::Overrun),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Turns a datagram into events. What cannot be read is a lost event.
fn decode(datagram: &[u8], on: &mut impl FnMut(Event)) {
    for message in messages(datagram) {
        let link = message.and_then(|m| Ok((m.message_type(), Link::parse(m.payload())?)));
        match link {
            Ok((libc::RTM_NEWLINK, Some(link))) => on(Event::Link(Box::new(link))),
            Ok((libc::RTM_DELLINK, Some(link))) => {
                on(Event::Removed { index: link.index, name: link.name });
            }
            Ok(_) => {}
            Err(_) => on(Event::Overrun),
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}
