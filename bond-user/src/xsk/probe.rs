//! What a netdev can do with XDP, before anything is attached.

use std::io;

use libbpf_sys::{bpf_xdp_query, bpf_xdp_query_opts};

use super::error::XskError;

// enum netdev_xdp_act, include/uapi/linux/netdev.h.
const NETDEV_XDP_ACT_BASIC: u64 = 1;
const NETDEV_XDP_ACT_XSK_ZEROCOPY: u64 = 8;

/// XDP abilities and present use of a netdev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The driver runs XDP programs itself (native mode).
    pub native: bool,
    /// The driver supports AF_XDP zero-copy.
    pub zero_copy: bool,
    /// Id of a program that is attached already, in whatever mode.
    pub program: Option<u32>,
}

/// Asks the kernel about `ifindex`. Kernels before 6.3 tell no features: then all are reported
/// present, and attaching or binding finds out.
///
/// # Errors
/// [`XskError::Probe`].
pub fn probe(ifname: &str, ifindex: u32) -> Result<Features, XskError> {
    let failed = |source| XskError::Probe { ifname: ifname.to_owned(), source };
    let index = i32::try_from(ifindex).map_err(|e| failed(io::Error::other(e)))?;
    let mut opts = bpf_xdp_query_opts {
        sz: size_of::<bpf_xdp_query_opts>() as libbpf_sys::size_t,
        ..bpf_xdp_query_opts::default()
    };
    // SAFETY: `opts` is a live, exclusively borrowed struct whose `sz` is its real size; the function keeps no pointer.
    let result = unsafe { bpf_xdp_query(index, 0, &raw mut opts) };
    if result < 0 {
        return Err(failed(io::Error::from_raw_os_error(-result)));
    }
    let told = opts.feature_flags != 0 || kernel_tells_features();
    let program = [opts.prog_id, opts.drv_prog_id, opts.skb_prog_id, opts.hw_prog_id]
        .into_iter()
        .find(|id| *id != 0);
    Ok(Features {
        native: !told || opts.feature_flags & NETDEV_XDP_ACT_BASIC != 0,
        zero_copy: !told || opts.feature_flags & NETDEV_XDP_ACT_XSK_ZEROCOPY != 0,
        program,
    })
}

/// Whether this kernel has the XDP features of the `netdev` netlink family (6.3): without them "no flags"
/// means that nobody knows.
fn kernel_tells_features() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut parts = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 3)
}
