//! The XDP programs: `bond_slave` on every slave, `bond_host` on our end of bond0.
//!
//! Each attachment is an instance of its own, with its own maps. Neither program takes frames in
//! several buffers (`xdp.frags` is not set): a driver that cannot keep them in one refuses the attach.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "`#[xdp]` hands the context over by value")]

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT},
    btf_maps::{Array, PerCpuArray, XskMap},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use bond_ebpf::{
    ether,
    layout::{Counter, MAX_QUEUES, Verdict, slave_flags},
};

// The statics' names are the maps' names: `layout::maps`.
#[btf_map]
static XSKS: XskMap<{ MAX_QUEUES as usize }> = XskMap::new();
#[btf_map]
static SLAVE: Array<u32, 1> = Array::new();
#[btf_map]
static COUNTERS: PerCpuArray<Counter, { Verdict::COUNT as usize }> = PerCpuArray::new();

/// The verifier lends GPL-only helpers to a program that says so.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// For a slave. Link-local frames go up the slave's own netdev, on a backup too (kernel:
/// `bond_handle_frame`): LACP and LLDP belong to the cable, not to the bond.
#[xdp]
fn bond_slave(ctx: XdpContext) -> u32 {
    let verdict = if destination(&ctx).is_some_and(ether::is_link_local) {
        Verdict::PassLinkLocal
    } else if slave() & slave_flags::RECEIVE == 0 {
        Verdict::DropInactive
    } else {
        redirect(&ctx, Verdict::PassNoSocket)
    };
    finish(&ctx, verdict)
}

/// For our end of bond0. There is no stack behind it: a frame without a socket ends here.
#[xdp]
fn bond_host(ctx: XdpContext) -> u32 {
    let verdict = redirect(&ctx, Verdict::DropNoSocket);
    finish(&ctx, verdict)
}

/// Hands the frame to the socket of its queue; `otherwise` when the queue has none.
#[inline(always)]
fn redirect(ctx: &XdpContext, otherwise: Verdict) -> Verdict {
    match XSKS.redirect(ctx.rx_queue_index(), u64::from(action(otherwise))) {
        Ok(_) => Verdict::Redirect,
        Err(_) => otherwise,
    }
}

/// Counts the verdict and turns it into the kernel's word for it.
#[inline(always)]
fn finish(ctx: &XdpContext, verdict: Verdict) -> u32 {
    if let Some(counter) = COUNTERS.get_ptr_mut(verdict as u32) {
        // SAFETY: the slot is this CPU's own, and no other program has this map.
        let counter = unsafe { &mut *counter };
        counter.frames += 1;
        counter.bytes += (ctx.data_end() - ctx.data()) as u64;
    }
    action(verdict)
}

#[inline(always)]
const fn action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Redirect => XDP_REDIRECT,
        Verdict::PassLinkLocal | Verdict::PassNoSocket => XDP_PASS,
        Verdict::DropInactive | Verdict::DropNoSocket => XDP_DROP,
    }
}

/// The slave's flags; a slave nobody has written about is a backup.
#[inline(always)]
fn slave() -> u32 {
    match SLAVE.get_ptr(0) {
        // SAFETY: an aligned word of the map, which user space may write at any time.
        Some(flags) => unsafe { flags.read_volatile() },
        None => 0,
    }
}

/// The destination address, or none in a frame too short for one.
#[inline(always)]
fn destination(ctx: &XdpContext) -> Option<[u8; 6]> {
    let start = ctx.data();
    if start + size_of::<[u8; 6]>() > ctx.data_end() {
        return None;
    }
    // SAFETY: six bytes from `start` lie within the frame; bytes need no alignment.
    Some(unsafe { *(start as *const [u8; 6]) })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
