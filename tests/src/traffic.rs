//! A paced generator of test frames, and the sink that accounts for every one of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::{
    Flow, PacketSocket, Port,
    frame::{ETHERTYPE, MAX_LEN},
};

/// Frames sent without a pause.
const BURST: u64 = 32;
/// The flow has ended when no frame arrived for so long.
const SILENCE: Duration = Duration::from_millis(250);

/// How fast a flow is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Frames per second, at most.
    pub rate: u32,
    /// Frames on the way, at most: keeps the flow below what a busy machine can carry at this moment.
    pub window: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rate: 80_000, window: 192 }
    }
}

/// What went wrong with a flow, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub lost: u64,
    pub duplicated: u64,
    /// Frames of our ethertype that are not, to the byte, frames of the flow.
    pub altered: u64,
}

/// What one netdev received of a flow.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// Name of the netdev.
    pub port: String,
    /// Sequence numbers in their order of arrival.
    pub sequence: Vec<u64>,
    altered: u64,
}

impl Arrivals {
    /// Frames that arrived after one with a higher number.
    #[must_use]
    pub fn out_of_order(&self) -> usize {
        self.sequence.windows(2).filter(|pair| pair[1] < pair[0]).count()
    }
}

/// The account of a flow.
#[derive(Clone, Debug)]
pub struct Report {
    pub faults: Faults,
    /// One for each netdev of the sink, in the same order.
    pub arrivals: Vec<Arrivals>,
}

impl Report {
    fn new(flow: &Flow, arrivals: Vec<Arrivals>) -> Self {
        let mut seen = vec![false; usize::try_from(flow.frames).unwrap_or(usize::MAX)];
        let mut faults =
            Faults { altered: arrivals.iter().map(|port| port.altered).sum(), ..Faults::default() };
        for slot in arrivals
            .iter()
            .flat_map(|port| &port.sequence)
            .filter_map(|&number| usize::try_from(number).ok())
        {
            faults.duplicated += u64::from(std::mem::replace(&mut seen[slot], true));
        }
        faults.lost = seen.iter().map(|&seen| u64::from(!seen)).sum();
        Self { faults, arrivals }
    }

    /// Frames received by each netdev, in the order of the sink's.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        self.arrivals.iter().map(|port| port.sequence.len()).collect()
    }
}

/// Listens for one flow on some netdevs.
#[derive(Debug)]
pub struct Sink {
    flow: Flow,
    /// By each netdev.
    received: Vec<Arc<AtomicU64>>,
    /// Every netdev is to get the whole flow.
    copies: bool,
    stop: Arc<AtomicBool>,
    listeners: Vec<JoinHandle<Result<Arrivals>>>,
}

impl Sink {
    /// Listens from now on; every netdev must exist and be up.
    pub fn open(flow: &Flow, ports: &[&Port]) -> Result<Self> {
        Self::listening(flow, ports, false)
    }

    fn listening(flow: &Flow, ports: &[&Port], copies: bool) -> Result<Self> {
        let mut sink = Self {
            flow: *flow,
            received: Vec::new(),
            copies,
            stop: Arc::default(),
            listeners: Vec::new(),
        };
        for port in ports {
            let socket = port.packet_socket(ETHERTYPE)?;
            let (flow, name) = (sink.flow, port.name.clone());
            let (received, stop) = (Arc::default(), Arc::clone(&sink.stop));
            sink.received.push(Arc::clone(&received));
            sink.listeners
                .push(thread::spawn(move || listen(&flow, name, &socket, &received, &stop)));
        }
        Ok(sink)
    }

    /// Frames of the flow received until now: on all netdevs together, or if each is to get them all, by the last one.
    #[must_use]
    pub fn received(&self) -> u64 {
        let counts = self.received.iter().map(|count| count.load(Ordering::Acquire));
        if self.copies { counts.min().unwrap_or(0) } else { counts.sum() }
    }

    /// Waits until as many frames as the flow has were received or nothing has come for a while, and a little longer
    /// for those that should not come; then gives the account.
    pub fn finish(self) -> Result<Report> {
        let mut last = (self.received(), Instant::now());
        while last.0 < self.flow.frames && last.1.elapsed() < SILENCE {
            thread::sleep(Duration::from_millis(1));
            if self.received() != last.0 {
                last = (self.received(), Instant::now());
            }
        }
        thread::sleep(2 * PacketSocket::PATIENCE);
        self.stop.store(true, Ordering::Release);
        let arrivals: Result<Vec<_>> = self.listeners.into_iter().map(join).collect();
        Ok(Report::new(&self.flow, arrivals?))
    }
}

/// Sends `flow` through `ports`, the frames in turn, and returns the account of `sink`'s netdevs.
pub fn exchange(flow: &Flow, from: &[&Port], to: &[&Port]) -> Result<Report> {
    let sink = Sink::open(flow, to)?;
    let sockets: Result<Vec<_>> = from.iter().map(|port| port.packet_socket(ETHERTYPE)).collect();
    send(flow, &sockets?, Pace::default(), Some(&sink))?;
    sink.finish()
}

/// The same where every netdev of the sink gets the whole flow.
pub fn exchange_copies(flow: &Flow, from: &Port, to: &[&Port]) -> Result<Report> {
    let sink = Sink::listening(flow, to, true)?;
    send(flow, &[from.packet_socket(ETHERTYPE)?], Pace::default(), Some(&sink))?;
    sink.finish()
}

/// Sends the whole of `flow`, the frames in turn over `sockets`. With a `sink` the frames on the way are bounded.
pub fn send(flow: &Flow, sockets: &[PacketSocket], pace: Pace, sink: Option<&Sink>) -> Result<()> {
    let start = Instant::now();
    let mut buffer = [0; MAX_LEN];
    let mut window = Window { size: pace.window, given_up: 0 };
    let ways = u64::try_from(sockets.len())?;
    for sequence in 0..flow.frames {
        if sequence % BURST == 0 {
            let due = Duration::from_nanos(sequence * 1_000_000_000 / u64::from(pace.rate));
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        if let Some(sink) = sink {
            window.wait(sequence, sink);
        }
        let socket = &sockets[usize::try_from(sequence % ways)?];
        let length = flow.write(sequence, &mut buffer);
        send_patiently(socket, &buffer[..length])?;
    }
    Ok(())
}

/// Bounds the frames on the way.
struct Window {
    size: u64,
    /// Frames that are not waited for any longer.
    given_up: u64,
}

impl Window {
    /// Waits until frame `sequence` may be sent.
    fn wait(&mut self, sequence: u64, sink: &Sink) {
        let start = Instant::now();
        loop {
            let on_the_way = sequence.saturating_sub(sink.received() + self.given_up);
            if on_the_way < self.size {
                return;
            }
            if start.elapsed() > SILENCE / 2 {
                self.given_up += on_the_way;
            }
            thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Sends one frame, again and again for a while when there is no room for it.
fn send_patiently(socket: &PacketSocket, frame: &[u8]) -> Result<()> {
    let start = Instant::now();
    while !socket.send(frame)? {
        anyhow::ensure!(
            start.elapsed() < Duration::from_secs(1),
            "no room for a frame in a second"
        );
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

fn listen(
    flow: &Flow,
    port: String,
    socket: &PacketSocket,
    received: &AtomicU64,
    stop: &AtomicBool,
) -> Result<Arrivals> {
    let mut arrivals = Arrivals { port, sequence: Vec::new(), altered: 0 };
    let (mut buffer, mut scratch) = ([0; 2048], [0; MAX_LEN]);
    while !stop.load(Ordering::Acquire) {
        let Some(length) = socket.receive(&mut buffer)? else {
            continue;
        };
        match flow.read(&buffer[..length], &mut scratch) {
            Some(sequence) => {
                arrivals.sequence.push(sequence);
                received.fetch_add(1, Ordering::Release);
            }
            None => arrivals.altered += 1,
        }
    }
    Ok(arrivals)
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_panic| anyhow!("a listener panicked"))?
}
