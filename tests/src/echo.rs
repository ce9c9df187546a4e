//! Echo requests at a steady rate, over UDP or ICMP: what an application feels when a cable is pulled.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Netns;

/// Room for some thousand replies.
const RECEIVE_BUFFER: usize = 8 << 20;

const PATIENCE: Duration = Duration::from_millis(20);
const ICMP_HEADER: usize = 8;
const IPV4_HEADER: usize = 20;

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was sent.
    pub sent: Instant,
    /// Round-trip time, once it was answered.
    pub rtt: Option<Duration>,
}

/// The requests of a client, oldest first.
#[derive(Clone, Debug)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// The requests sent at `from` or later, and before `to`.
    #[must_use]
    pub fn between(&self, from: Instant, to: Instant) -> Self {
        Self(
            self.0
                .iter()
                .filter(|sample| from <= sample.sent && sample.sent < to)
                .copied()
                .collect(),
        )
    }

    /// How many were not answered.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.0.iter().filter(|sample| sample.rtt.is_none()).count()
    }

    /// The longest time without an answered request, beyond the `period` between two of them; zero if none was lost.
    ///
    /// Requests before the first answered and after the last answered one count as well.
    #[must_use]
    pub fn outage(&self, period: Duration) -> Duration {
        let lost_runs =
            self.0.chunk_by(|a, b| a.rtt.is_some() == b.rtt.is_some()).scan(0, |end, run| {
                *end += run.len();
                Some((*end - run.len(), *end, run[0].rtt.is_none()))
            });
        lost_runs
            .filter(|&(_, _, lost)| lost)
            .map(|(start, end, _)| {
                let before = &self.0[start.saturating_sub(1)];
                let after = &self.0[end.min(self.0.len() - 1)];
                (after.sent - before.sent).saturating_sub(period)
            })
            .max()
            .unwrap_or_default()
    }
}

/// A client that sends requests at a steady rate until it is dropped.
#[derive(Debug)]
pub struct Echo {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// Sends a UDP datagram each `period` from `netns` to an [`EchoServer`].
    pub fn udp(netns: &Netns, server: SocketAddrV4, period: Duration) -> Result<Self> {
        let socket = netns.run(|| connect(Type::DGRAM, Protocol::UDP, server))?;
        Self::start(socket, Transport::Udp, period)
    }

    /// Pings `address` each `period` from `netns`.
    pub fn icmp(netns: &Netns, address: Ipv4Addr, period: Duration) -> Result<Self> {
        let socket =
            netns.run(|| connect(Type::RAW, Protocol::ICMPV4, SocketAddrV4::new(address, 0)))?;
        let id = u16::try_from(std::process::id() & 0xffff)?;
        Self::start(socket, Transport::Icmp { id }, period)
    }

    /// Everything sent until now.
    #[must_use]
    pub fn samples(&self) -> Samples {
        Samples(lock(&self.samples).clone())
    }

    fn start(socket: Socket, transport: Transport, period: Duration) -> Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let socket = Arc::new(socket);
        let mut echo = Self { samples: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        let (samples, stop, receiver) =
            (Arc::clone(&echo.samples), Arc::clone(&echo.stop), Arc::clone(&socket));
        echo.threads.push(thread::spawn(move || {
            receive(&receiver, transport, &samples, &stop);
        }));
        let (samples, stop) = (Arc::clone(&echo.samples), Arc::clone(&echo.stop));
        echo.threads.push(thread::spawn(move || {
            request(&socket, transport, period, &samples, &stop);
        }));
        Ok(echo)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // A panic in there shows as lost requests.
            let _ = thread.join();
        }
    }
}

/// Sends every datagram back to where it came from, until it is dropped.
#[derive(Debug)]
pub struct EchoServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens on `address` in `netns`.
    pub fn udp(netns: &Netns, address: SocketAddrV4) -> Result<Self> {
        let socket = netns
            .run(|| UdpSocket::bind(address).with_context(|| format!("binding to {address}")))?;
        set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Acquire) {
                if let Ok((length, client)) = socket.recv_from(&mut buffer) {
                    // A reply that cannot be sent is a lost one: the client counts it.
                    let _ = socket.send_to(&buffer[..length], client);
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    Udp,
    Icmp { id: u16 },
}

impl Transport {
    /// The bytes of request `number`.
    fn request(self, number: u64) -> Vec<u8> {
        let number = number.to_be_bytes();
        let Self::Icmp { id } = self else {
            return number.to_vec();
        };
        let mut message = vec![8, 0, 0, 0]; // echo request, RFC 792
        message.extend_from_slice(&id.to_be_bytes());
        message.extend_from_slice(&number[6..]);
        message.extend_from_slice(&number);
        let checksum = internet_checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        message
    }

    /// The number of the request that `reply`, as the socket gave it, answers; `None` if it answers none of ours.
    fn answered(self, reply: &[u8]) -> Option<usize> {
        let number = match self {
            Self::Udp => reply,
            Self::Icmp { id } => {
                let (header, number) = reply.get(IPV4_HEADER..)?.split_at_checked(ICMP_HEADER)?;
                (header[..2] == [0, 0] && header[4..6] == id.to_be_bytes()).then_some(number)?
            }
        };
        usize::try_from(u64::from_be_bytes(number.try_into().ok()?)).ok()
    }
}

fn connect(kind: Type, protocol: Protocol, server: SocketAddrV4) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    // What this machine is late to read is not the bond's loss.
    set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
    socket.connect(&server.into()).with_context(|| format!("connecting to {server}"))?;
    Ok(socket)
}

fn request(
    socket: &Socket,
    transport: Transport,
    period: Duration,
    samples: &Mutex<Vec<Sample>>,
    stop: &AtomicBool,
) {
    let start = Instant::now();
    for number in 0_u32.. {
        thread::sleep((period * number).saturating_sub(start.elapsed()));
        if stop.load(Ordering::Acquire) {
            return;
        }
        let message = transport.request(u64::from(number));
        // The sample comes first: its reply finds it. A request that cannot be sent is a lost one.
        lock(samples).push(Sample { sent: Instant::now(), rtt: None });
        let _ = socket.send(&message);
    }
}

fn receive(socket: &Socket, transport: Transport, samples: &Mutex<Vec<Sample>>, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Acquire) {
        // Nothing yet, refused, unreachable: the request counts as lost unless its reply comes later.
        let Ok(length) = (&*socket).read(&mut buffer) else {
            continue;
        };
        if let Some(number) = transport.answered(&buffer[..length])
            && let Some(sample) = lock(samples).get_mut(number)
        {
            sample.rtt.get_or_insert_with(|| sample.sent.elapsed());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The Internet checksum of RFC 1071.
#[must_use]
pub fn internet_checksum(message: &[u8]) -> u16 {
    let sum: u32 = message
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}
