//! The programs of the packet-rate benchmark.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "`#[xdp]` hands the context over by value")]

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::{Array, DevMap, PerCpuArray},
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_redirect},
    macros::{btf_map, perf_event, xdp},
    programs::{PerfEventContext, XdpContext},
};
use bond_bench_ebpf::{
    frame::{
        CHECK_AT, ETHERTYPE, ETHERTYPE_AT, FILLER_AT, LENGTH_AT, MAX_LEN, SEQUENCE_AT, STAMP_AT,
        check, filler,
    },
    layout::{BUCKETS, Place, Sent, Stream, Tally, bucket},
};

// The statics' names are the maps' names: `layout::maps`.
#[btf_map]
static STREAM: Array<Stream, 1> = Array::new();
#[btf_map]
static SENT: PerCpuArray<Sent, 1> = PerCpuArray::new();
#[btf_map]
static TALLY: PerCpuArray<Tally, 1> = PerCpuArray::new();
#[btf_map]
static LATENCY: PerCpuArray<u64, { BUCKETS as usize }> = PerCpuArray::new();
#[btf_map]
static PORTS: DevMap<2> = DevMap::new();
#[btf_map]
static WAYS: Array<u32, 1> = Array::new();
#[btf_map]
static TURN: PerCpuArray<u32, 1> = PerCpuArray::new();
#[btf_map]
static PROCESS: Array<u32, 1> = Array::new();
#[btf_map]
static SAMPLES: PerCpuArray<u64, { Place::COUNT as usize }> = PerCpuArray::new();

/// The verifier lends GPL-only helpers to a program that says so.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A frame of a paced stream that is this late is left out: the generator was not running.
const SLACK_NS: u64 = 1_000_000;
/// The whole filler is looked at in one frame of as many.
const FILLER_EVERY: u64 = 64;

#[xdp]
fn generate(ctx: XdpContext) -> u32 {
    send(&ctx).unwrap_or(XDP_DROP)
}

#[inline(always)]
fn send(ctx: &XdpContext) -> Option<u32> {
    let stream = STREAM.get(0)?;
    // SAFETY: the slot is this CPU's own.
    let sent = unsafe { &mut *SENT.get_ptr_mut(0)? };
    let mut stamp = 0;
    if stream.period_ns > 0 {
        // SAFETY: the helper reads a clock.
        stamp = unsafe { bpf_ktime_get_ns() };
        if stamp < sent.due_ns {
            return None;
        }
        if stamp - sent.due_ns > SLACK_NS {
            sent.due_ns = stamp;
        }
        sent.due_ns += stream.period_ns;
    }
    let sequence = sent.frames;
    let length = length(ctx);
    write(ctx, SEQUENCE_AT, sequence)?;
    write(ctx, STAMP_AT, stamp)?;
    write(ctx, CHECK_AT, check(sequence, stamp, length))?;
    sent.frames += 1;
    let second = stream.ways > 1 && sequence & 1 == 1;
    let port = if second { stream.ports[1] } else { stream.ports[0] };
    // SAFETY: the helper takes two numbers.
    let action = unsafe { bpf_redirect(u32::try_from(port).ok()?, 0) };
    u32::try_from(action).ok()
}

#[xdp]
fn sink(ctx: XdpContext) -> u32 {
    if let Some(tally) = TALLY.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own.
        receive(&ctx, unsafe { &mut *tally });
    }
    XDP_DROP
}

#[inline(always)]
fn receive(ctx: &XdpContext, tally: &mut Tally) {
    if read::<u16>(ctx, ETHERTYPE_AT) != Some(ETHERTYPE.to_be()) {
        tally.other += 1;
        return;
    }
    tally.frames += 1;
    let Some((sequence, stamp)) = intact(ctx) else {
        tally.bad += 1;
        return;
    };
    if sequence < tally.next {
        tally.late += 1;
    } else {
        tally.next = sequence + 1;
    }
    if stamp > 0 {
        // SAFETY: the helper reads a clock.
        let now = unsafe { bpf_ktime_get_ns() };
        if let Some(count) = LATENCY.get_ptr_mut(bucket(now.saturating_sub(stamp))) {
            // SAFETY: the slot is this CPU's own.
            unsafe { *count += 1 };
        }
    }
}

/// Sequence number and stamp, if nothing about the frame is wrong.
#[inline(always)]
fn intact(ctx: &XdpContext) -> Option<(u64, u64)> {
    let length = length(ctx);
    let sequence = read::<u64>(ctx, SEQUENCE_AT)?;
    let stamp = read::<u64>(ctx, STAMP_AT)?;
    let fields = read::<u16>(ctx, LENGTH_AT)? == length
        && read::<u64>(ctx, CHECK_AT)? == check(sequence, stamp, length);
    let whole = sequence % FILLER_EVERY != 0 || filler_is_intact(ctx);
    (fields && whole).then_some((sequence, stamp))
}

#[inline(always)]
fn filler_is_intact(ctx: &XdpContext) -> bool {
    let mut at = FILLER_AT;
    while at + 8 <= MAX_LEN {
        match read::<u64>(ctx, at) {
            Some(word) if word == filler(at) => at += 8,
            Some(_) => return false,
            None => return true,
        }
    }
    true
}

/// The device under test that never leaves the kernel.
#[xdp]
fn forward(ctx: XdpContext) -> u32 {
    let _ = ctx;
    let ways = WAYS.get(0).copied().unwrap_or(1);
    let mut port = 0;
    if ways > 1
        && let Some(turn) = TURN.get_ptr_mut(0)
    {
        // SAFETY: the slot is this CPU's own.
        let turn = unsafe { &mut *turn };
        *turn ^= 1;
        port = *turn;
    }
    PORTS.redirect(port, u64::from(XDP_PASS)).unwrap_or(XDP_DROP)
}

/// Runs at each tick of a CPU's clock event.
#[perf_event]
fn profile(ctx: PerfEventContext) -> u32 {
    let process = PROCESS.get(0).copied().unwrap_or(0);
    let place = if bpf_get_current_pid_tgid() >> 32 != u64::from(process) {
        Place::Elsewhere
    } else if is_user(&ctx) {
        Place::User
    } else {
        Place::Kernel
    };
    if let Some(count) = SAMPLES.get_ptr_mut(place as u32) {
        // SAFETY: the slot is this CPU's own.
        unsafe { *count += 1 };
    }
    0
}

/// The privilege level in the code segment's selector.
#[inline(always)]
fn is_user(ctx: &PerfEventContext) -> bool {
    let data: *const aya_ebpf::bindings::bpf_perf_event_data = ctx.as_ptr().cast();
    // SAFETY: the context of a perf event's program is this structure.
    unsafe { (*data).regs.cs & 3 == 3 }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a frame is shorter than a page")]
fn length(ctx: &XdpContext) -> u16 {
    (ctx.data_end() - ctx.data()) as u16
}

/// The field at `at`, or none in a frame that ends before its end.
#[inline(always)]
fn read<T: Copy>(ctx: &XdpContext, at: usize) -> Option<T> {
    let start = ctx.data() + at;
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    // SAFETY: the field lies within the frame.
    Some(unsafe { (start as *const T).read_unaligned() })
}

#[inline(always)]
fn write<T>(ctx: &XdpContext, at: usize, value: T) -> Option<()> {
    let start = ctx.data() + at;
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    // SAFETY: the field lies within the frame, and the program has it alone.
    unsafe { (start as *mut T).write_unaligned(value) };
    Some(())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
