//! An XDP program that is not the bond's.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::{Port, sys};

// Commands and types of `linux/bpf.h`.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: *const u64,
    license: *const libc::c_char,
}

/// The start of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// A program that passes every frame, attached to a netdev until this is dropped.
#[derive(Debug)]
pub struct ForeignXdp {
    _link: OwnedFd,
}

impl ForeignXdp {
    /// Attaches it to `port`.
    pub fn attach(port: &Port) -> Result<Self> {
        // r0 = XDP_PASS; exit
        let instructions: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];
        let load = ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: 2,
            insns: instructions.as_ptr(),
            license: c"MIT".as_ptr(),
        };
        // SAFETY: the instructions, as many as counted, and the licence outlive the call.
        let fd = unsafe { sys::bpf(BPF_PROG_LOAD, &load) }.context("loading an XDP program")?;
        // SAFETY: the call above has just opened it.
        let program = unsafe { sys::own(fd) };
        let link = port.netns.run(|| {
            let create = LinkCreate {
                prog_fd: program.as_raw_fd(),
                target_ifindex: sys::interface_index(&port.name)?,
                attach_type: BPF_XDP,
                flags: 0,
            };
            // SAFETY: no pointer inside.
            let fd = unsafe { sys::bpf(BPF_LINK_CREATE, &create) }
                .context("attaching an XDP program")?;
            // SAFETY: the call above has just opened it.
            Ok(unsafe { sys::own(fd) })
        })?;
        Ok(Self { _link: link })
    }
}
