//! The rtnetlink socket: requests, their answers, and the framing of both (`struct nlmsghdr`, RFC 3549).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use netlink_packet_core::{
    DecodeError, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_ALIGNTO, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage, NlasIterator, parse_i32,
    parse_string,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

use super::error::Cause;

/// No skb of a dump or an event is larger: the kernel caps `min_dump_alloc` at 32 KiB (`netlink_recvmsg`).
const BUFFER_BYTES: usize = 64 * 1024;
/// How often a list that changed while it was read is read again.
const DUMP_ATTEMPTS: usize = 16;
/// `struct nlmsghdr`: 16 bytes.
const HEADER_BYTES: usize = 16;
/// `NLMSGERR_ATTR_MSG` of linux/netlink.h.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A rtnetlink socket in the network namespace of the thread that opened it, and the buffer it receives into.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Wire {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER_BYTES), sequence: 0 })
    }

    /// Receives one datagram. A truncated one is an error: its tail is lost.
    pub(super) fn receive(&mut self) -> io::Result<&[u8]> {
        self.buffer.clear();
        let length = loop {
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if length > self.buffer.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a datagram of {length} bytes was cut"),
            ));
        }
        Ok(&self.buffer)
    }

    /// Sends one request and gathers what `decode` makes of each answer (message type, payload).
    ///
    /// Always asks for an acknowledgement, so that every exchange ends with NLMSG_ERROR or NLMSG_DONE and the next one
    /// finds an empty socket.
    pub(super) fn request<T>(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        decode: impl Fn(u16, &[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, Cause> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        for _ in 0..DUMP_ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            message.header.sequence_number = self.sequence;
            message.finalize();
            let mut bytes = vec![0; message.buffer_len()];
            message.serialize(&mut bytes);
            self.socket.send(&bytes, 0)?;
            if let Some(answers) = self.gather(&decode)? {
                return Ok(answers);
            }
        }
        Err(Cause::Interrupted)
    }

    /// Reads answers up to the final one. `None`: the dump was interrupted by a change and is inconsistent.
    fn gather<T>(
        &mut self,
        decode: impl Fn(u16, &[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Option<Vec<T>>, Cause> {
        let sequence = self.sequence;
        let (mut answers, mut failure, mut interrupted) = (Vec::new(), None, false);
        loop {
            for message in messages(self.receive()?) {
                let message = message?;
                // The rest of an exchange that failed half-way.
                if message.sequence_number() != sequence {
                    continue;
                }
                interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                match message.message_type() {
                    NLMSG_ERROR | NLMSG_DONE => {
                        check(&message)?;
                        return match failure {
                            Some(error) => Err(Cause::Decode(error)),
                            None => Ok((!interrupted).then_some(answers)),
                        };
                    }
                    kind => match decode(kind, message.payload()) {
                        Ok(answer) => answers.extend(answer),
                        Err(error) => failure = Some(error),
                    },
                }
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The netlink messages of one datagram, each checked against the bytes that are there.
pub(super) fn messages(
    mut bytes: &[u8],
) -> impl Iterator<Item = Result<NetlinkBuffer<&[u8]>, DecodeError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let message = NetlinkBuffer::new_checked(bytes);
        let length = message.as_ref().map_or(bytes.len(), |m| m.payload_length() + HEADER_BYTES);
        bytes =
            bytes.get(length.next_multiple_of(usize::from(NLMSG_ALIGNTO))..).unwrap_or_default();
        Some(message)
    })
}

/// The verdict of a final message: `struct nlmsgerr` (negative errno and the request's header) or the errno of NLMSG_DONE.
fn check(message: &NetlinkBuffer<&[u8]>) -> Result<(), Cause> {
    let payload = message.payload();
    let code = payload.get(..4).map_or(Ok(0), parse_i32)?;
    if code == 0 {
        return Ok(());
    }
    let errno = Errno::from_raw_os_error(code.wrapping_neg());
    let echoed = if message.message_type() == NLMSG_ERROR { HEADER_BYTES } else { 0 };
    let attributes =
        (message.flags() & NLM_F_ACK_TLVS != 0).then(|| payload.get(4 + echoed..)).flatten();
    let message = attributes
        .and_then(|bytes| attribute(bytes, NLMSGERR_ATTR_MSG))
        .and_then(|v| parse_string(v).ok());
    Err(Cause::Kernel { errno, message })
}

/// The attributes (`struct nlattr`: kind without its flags, value) of a message's tail or of a nested attribute. A
/// malformed one ends the list.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|nla| {
        let (kind, end) = (nla.kind(), usize::from(nla.length()));
        (kind, &nla.into_inner()[NLA_HEADER_SIZE..end])
    })
}

/// The value of the first attribute of that kind.
pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}
