//! Packet sockets: whole frames in and out of one netdev.

use std::{
    io::{self, ErrorKind, Read},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// As an ethertype: frames of every ethertype.
pub const ALL_ETHERTYPES: u16 = 0x0003; // ETH_P_ALL

/// A packet socket bound to one netdev. It does not see what is sent on that netdev, only what arrives.
#[derive(Debug)]
pub struct PacketSocket(Socket);

impl PacketSocket {
    /// How long [`Self::receive`] waits.
    pub const PATIENCE: Duration = Duration::from_millis(20);

    /// Opens the socket in the caller's network namespace.
    pub(crate) fn open(name: &str, ethertype: u16) -> Result<Self> {
        // Protocol 0 receives nothing until the bind below names the netdev: no frame of another one slips in.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        sys::set_packet_option(&socket, libc::PACKET_IGNORE_OUTGOING, 1)?;
        set_socket_recv_buffer_size_force(&socket, 32 << 20)?;
        socket.set_read_timeout(Some(Self::PATIENCE))?;
        let address = sys::link_layer_address(sys::interface_index(name)?, ethertype)?;
        socket.bind(&address).with_context(|| format!("binding a packet socket to {name}"))?;
        Ok(Self(socket))
    }

    /// From now on the transmit queue is the number of the sending thread's CPU, modulo the netdev's queues.
    pub fn queue_by_cpu(&self) -> Result<()> {
        sys::set_packet_option(&self.0, libc::PACKET_QDISC_BYPASS, 1)
    }

    /// Sends one frame. `false`: there was no room for it just now, and it was not sent.
    pub fn send(&self, frame: &[u8]) -> Result<bool> {
        match self.0.send(frame) {
            Ok(length) => {
                anyhow::ensure!(
                    length == frame.len(),
                    "{length} of {} bytes were sent",
                    frame.len()
                );
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(false),
            Err(error) => Err(error).context("sending a frame"),
        }
    }

    /// Receives one frame into `buffer` and returns its length, or `None` after [`Self::PATIENCE`], and when the netdev
    /// went down or away.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error)
                if [ErrorKind::WouldBlock, ErrorKind::Interrupted, ErrorKind::NetworkDown]
                    .contains(&error.kind()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
