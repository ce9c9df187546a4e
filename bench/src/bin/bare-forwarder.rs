//! Two AF_XDP sockets on one UMEM, and every frame of the one sent by the other: what our sockets do without a bond.
//!
//! `bare-forwarder <netdev> <netdev> native|generic`; the mode is that of the second, as on the slave of a bond.

use anyhow::{Context as _, Result, bail};
use arrayvec::ArrayVec;
use bond::{
    config::XdpChoice,
    netlink::Netlink,
    poller::{BATCH, Depth, Kick, Rings as _, RxRings as _, TxRings as _},
    port::Program,
    xsk::{BindMode, Desc, Geometry, XskMemory, XskRings, XskRx, XskTx},
};
use bond_bench::peers::READY;
use bond_ebpf::layout::programs;

const MTU: u32 = 1500;

/// One of the two ends.
struct End {
    rx: XskRx,
    tx: XskTx,
    /// How they are bound.
    mode: BindMode,
    /// Chunks the kernel has for receiving.
    filled: usize,
    /// Chunks the kernel has for sending.
    sending: usize,
    /// Holds the attachment.
    _program: Program,
}

/// Both ends, and the chunks that neither of them nor the kernel has.
///
/// Every chunk is in one place: in `free`, or in one ring.
struct Forwarder {
    memory: XskMemory,
    free: Vec<Desc>,
    ends: [End; 2],
    depth: Depth,
}

impl Forwarder {
    fn open(names: [&str; 2], xdp: [XdpChoice; 2]) -> Result<Self> {
        let geometry = Geometry::for_mtu(MTU, false)?;
        let memory = XskMemory::new(0, geometry, geometry.chunks(2))?;
        let mut netlink = Netlink::new()?;
        let mut open = |name: &str, xdp| -> Result<End> {
            let index = netlink.link(name)?.with_context(|| format!("no {name}"))?.index;
            let mut program = Program::attach(programs::HOST, name, index, xdp)?;
            let rings = XskRings::bind(name, 0, &memory.handle(), geometry, BindMode::Copy)?;
            program.set_socket(0, rings.stats())?;
            let mode = rings.mode();
            let (rx, tx) = rings.split();
            Ok(End { rx, tx, mode, filled: 0, sending: 0, _program: program })
        };
        let ends = [open(names[0], xdp[0])?, open(names[1], xdp[1])?];
        let free = (0..memory.chunks()).map(Desc::empty).collect();
        Ok(Self { memory, free, ends, depth: geometry.depth(BindMode::Copy) })
    }

    fn turn(&mut self) {
        for end in 0..2 {
            self.complete(end);
            self.refill(end);
        }
        for from in 0..2 {
            self.forward(from);
        }
    }

    fn complete(&mut self, end: usize) {
        let end = &mut self.ends[end];
        while end.sending > 0 {
            let seen = end.tx.complete(&self.memory, |desc| self.free.push(desc));
            end.sending -= seen;
            if seen < BATCH {
                return;
            }
        }
    }

    fn refill(&mut self, end: usize) {
        let end = &mut self.ends[end];
        while end.filled < self.depth.shallow {
            let want = BATCH.min(self.depth.shallow - end.filled);
            let spare = self.free.iter().rev().copied().take(want);
            // SAFETY: the chunks are in `free` and nowhere else; those that the ring took leave it here.
            let taken = unsafe { end.rx.fill(&self.memory, spare) };
            self.free.truncate(self.free.len() - taken);
            end.filled += taken;
            if taken < BATCH {
                break;
            }
        }
        end.rx.wake_fill();
    }

    fn forward(&mut self, from: usize) {
        let mut descs = ArrayVec::<_, BATCH>::new();
        self.ends[from].rx.receive(&self.memory, BATCH, |desc| descs.push(desc));
        if descs.is_empty() {
            return;
        }
        self.ends[from].filled -= descs.len();
        let to = 1 - from;
        let end = &mut self.ends[to];
        // SAFETY: the chunks have just come from a ring and are nowhere else; the rest goes to `free`.
        let taken = unsafe { end.tx.transmit(&self.memory, descs.iter().copied()) };
        self.free.extend(&descs[taken..]);
        end.sending += taken;
        while matches!(self.ends[to].tx.kick(), Kick::Again) {
            self.complete(to);
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [first, second, mode] = arguments.as_slice() else {
        bail!("usage: bare-forwarder <netdev> <netdev> native|generic");
    };
    let xdp = match mode.as_str() {
        "native" => XdpChoice::Native,
        "generic" => XdpChoice::Generic,
        other => bail!("{other} is no XDP mode"),
    };
    let mut forwarder = Forwarder::open([first, second], [XdpChoice::Native, xdp])?;
    println!("{READY}: {mode} XDP, {} sockets, busy", forwarder.ends[1].mode);
    loop {
        forwarder.turn();
    }
}
