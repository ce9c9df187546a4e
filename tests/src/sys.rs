//! The system calls that have no safe wrapper.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use socket2::SockAddr;

/// Commands of the `SIOCETHTOOL` ioctl that set one offload (`linux/ethtool.h`).
const OFFLOADS: [(&str, u32); 4] =
    [("tx checksum", 0x17), ("TSO", 0x1f), ("GSO", 0x24), ("GRO", 0x2c)];

#[repr(C)]
struct EthtoolValue {
    command: u32,
    value: u32,
}

/// Turns the offloads of netdev `name` off, in the caller's network namespace.
pub(crate) fn offloads_off(name: &str) -> Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    for (offload, command) in OFFLOADS {
        let mut value = EthtoolValue { command, value: 0 };
        let mut request = interface_request(name)?;
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: `request` is a whole `ifreq`, and the structure its data points at, which is what the commands
        // above read, outlives the call.
        let outcome =
            unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        match check(outcome) {
            // What the netdev does not have is off, such as the segmentation of a veth whose peer runs an XDP program.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            outcome => outcome.with_context(|| format!("turning {offload} of {name} off"))?,
        }
    }
    Ok(())
}

/// Makes the tap `name` in the caller's network namespace. It lives, and can have a carrier, while the file is open.
pub(crate) fn tap(name: &str) -> Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI)?;
    // SAFETY: `request` is a whole `ifreq`, which is what the command reads and writes, and outlives the call.
    let outcome = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    check(outcome).with_context(|| format!("making the tap {name}"))?;
    Ok(file)
}

/// The index of netdev `name` in the caller's network namespace.
pub(crate) fn interface_index(name: &str) -> Result<u32> {
    let name_z = CString::new(name)?;
    // SAFETY: the argument is a string that ends with a zero and outlives the call.
    let index = unsafe { libc::if_nametoindex(name_z.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("interface {name}"));
    }
    Ok(index)
}

/// The `sockaddr_ll` of `ethertype` on the netdev `index`, for a bind.
pub(crate) fn link_layer_address(index: u32, ethertype: u16) -> Result<SockAddr> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET)?,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: i32::try_from(index)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let fill = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        // SAFETY: the storage is larger than any address, aligned for all of them, and ours to write.
        unsafe { storage.cast::<libc::sockaddr_ll>().write(address) };
        let size =
            libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
        // SAFETY: the length is ours to write.
        unsafe { length.write(size) };
        Ok(())
    };
    // SAFETY: `fill` writes a whole address of the family it names, and its length.
    let ((), address) = unsafe { SockAddr::try_init(fill) }?;
    Ok(address)
}

/// Sets an integer option of level `SOL_PACKET`.
pub(crate) fn set_packet_option(
    socket: &impl AsRawFd,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value))?;
    // SAFETY: the pointer and the size describe `value`, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const value).cast(),
            size,
        )
    };
    check(outcome).with_context(|| format!("packet socket option {option}"))
}

/// One `bpf` system call; `attributes` is what the command reads from `union bpf_attr`.
///
/// # Safety
/// Every pointer inside `attributes` must be valid for what `command` does with it.
pub(crate) unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    let pointer: *const T = attributes;
    // SAFETY: the pointer and the size describe `attributes`; what it points at is the caller's promise.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    let outcome = i32::try_from(outcome).map_err(io::Error::other)?;
    check(outcome).map(|()| outcome)
}

/// Takes ownership of a file descriptor that a system call just returned.
///
/// # Safety
/// `fd` must be open and owned by nobody else.
pub(crate) unsafe fn own(fd: i32) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn interface_request(name: &str) -> Result<libc::ifreq> {
    // SAFETY: `ifreq` is integers, addresses and a pointer; all zeroes is a value of each.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    anyhow::ensure!(name.len() < request.ifr_name.len(), "{name}: more than 15 characters");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn check(outcome: i32) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
