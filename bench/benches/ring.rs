//! How many descriptors a second go through the ring between poller and egress?
//!
//! Beside it rtrb (a chunk at a time, and one by one) and crossbeam's `ArrayQueue`, which is made for
//! many producers and consumers and has no batches. All start from a batch of frames and end in one,
//! as poller and egress do.

use std::{
    hint::{black_box, spin_loop},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use bond::xsk::{Desc, Frame, UmemId};
use bond_bench::micro;
use core_affinity::CoreId;
use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use crossbeam_queue::ArrayQueue;

/// Slots of each ring: as many as the poller's has.
const CAPACITY: usize = 256;

/// Descriptors in one iteration between two cores. Criterion takes at least 10 samples of at least
/// one iteration, so that each figure is of 80 million descriptors or more.
const CROSSING: u32 = 8_000_000;

/// What a frame token is to a ring: only a UMEM's ledger makes real ones.
#[derive(Clone, Copy)]
struct Token {
    desc: Desc,
    umem: UmemId,
}

const _: () = assert!(size_of::<Token>() == size_of::<Frame>());

impl Token {
    fn new(number: u32) -> Self {
        Self { desc: Desc { chunk: number, offset: 0, len: 64 }, umem: 0 }
    }

    fn value(self) -> u64 {
        u64::from(self.desc.chunk) + u64::from(self.desc.len) + u64::from(self.umem)
    }
}

type Batch<const N: usize> = ArrayVec<Token, N>;

/// The end where tokens go in.
trait Push: Send + 'static {
    /// Moves the front of `batch` into the ring, as much as fits.
    fn push<const N: usize>(&mut self, batch: &mut Batch<N>);
}

/// The end where tokens come out.
trait Pop: Send {
    /// Moves what is there to the end of `batch`, as much as fits.
    fn pop<const N: usize>(&mut self, batch: &mut Batch<N>);
}

struct Ours<T>(T);

impl Push for Ours<bond::ring::Producer<Token>> {
    fn push<const N: usize>(&mut self, batch: &mut Batch<N>) {
        self.0.push_from(batch);
    }
}

impl Pop for Ours<bond::ring::Consumer<Token>> {
    fn pop<const N: usize>(&mut self, batch: &mut Batch<N>) {
        self.0.pop_into(batch);
    }
}

/// rtrb by chunks.
struct Chunks<T>(T);

impl Push for Chunks<rtrb::Producer<Token>> {
    fn push<const N: usize>(&mut self, batch: &mut Batch<N>) {
        // The cached count first, as in rtrb's own `push_partial_slice`.
        let count = match self.0.write_chunk_uninit(batch.len()) {
            Ok(chunk) => {
                chunk.fill_from_iter(batch.drain(..));
                return;
            }
            Err(rtrb::chunks::ChunkError::TooFewSlots(count)) => count,
        };
        if let Ok(chunk) = self.0.write_chunk_uninit(count) {
            chunk.fill_from_iter(batch.drain(..count));
        }
    }
}

impl Pop for Chunks<rtrb::Consumer<Token>> {
    fn pop<const N: usize>(&mut self, batch: &mut Batch<N>) {
        let count = match self.0.read_chunk(batch.remaining_capacity()) {
            Ok(chunk) => return batch.extend(chunk),
            Err(rtrb::chunks::ChunkError::TooFewSlots(count)) => count,
        };
        if let Ok(chunk) = self.0.read_chunk(count) {
            batch.extend(chunk);
        }
    }
}

/// rtrb one by one.
struct Singly<T>(T);

impl Push for Singly<rtrb::Producer<Token>> {
    fn push<const N: usize>(&mut self, batch: &mut Batch<N>) {
        let count = batch.iter().take_while(|token| self.0.push(**token).is_ok()).count();
        batch.drain(..count);
    }
}

impl Pop for Singly<rtrb::Consumer<Token>> {
    fn pop<const N: usize>(&mut self, batch: &mut Batch<N>) {
        let room = batch.remaining_capacity();
        batch.extend(std::iter::from_fn(|| self.0.pop().ok()).take(room));
    }
}

impl Push for Arc<ArrayQueue<Token>> {
    fn push<const N: usize>(&mut self, batch: &mut Batch<N>) {
        let count =
            batch.iter().take_while(|token| ArrayQueue::push(self, **token).is_ok()).count();
        batch.drain(..count);
    }
}

impl Pop for Arc<ArrayQueue<Token>> {
    fn pop<const N: usize>(&mut self, batch: &mut Batch<N>) {
        let room = batch.remaining_capacity();
        batch.extend(std::iter::from_fn(|| ArrayQueue::pop(self)).take(room));
    }
}

fn ours() -> (impl Push, impl Pop) {
    let (producer, consumer) = bond::ring::ring(CAPACITY).expect("a power of two");
    (Ours(producer), Ours(consumer))
}

fn chunks() -> (impl Push, impl Pop) {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    (Chunks(producer), Chunks(consumer))
}

fn singly() -> (impl Push, impl Pop) {
    let (producer, consumer) = rtrb::RingBuffer::new(CAPACITY);
    (Singly(producer), Singly(consumer))
}

fn array_queue() -> (impl Push, impl Pop) {
    let queue = Arc::new(ArrayQueue::new(CAPACITY));
    (Arc::clone(&queue), queue)
}

/// One batch in and out again, on one core.
fn hop<const N: usize>(criterion: &mut Criterion) {
    fn bench<const N: usize>(
        group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
        name: &str,
        (mut producer, mut consumer): (impl Push, impl Pop),
    ) {
        let mut batch: Batch<N> = (0..).map(Token::new).take(N).collect();
        let mut taken = Batch::<N>::new();
        group.bench_function(BenchmarkId::new(name, N), |bencher| {
            bencher.iter(|| {
                producer.push(black_box(&mut batch));
                consumer.pop(black_box(&mut taken));
                std::mem::swap(&mut batch, &mut taken);
            });
        });
    }
    let mut group = criterion.benchmark_group("ring-hop");
    group.throughput(Throughput::Elements(N as u64));
    bench::<N>(&mut group, "bond", ours());
    bench::<N>(&mut group, "rtrb-chunks", chunks());
    bench::<N>(&mut group, "rtrb-singly", singly());
    bench::<N>(&mut group, "array-queue", array_queue());
    group.finish();
}

/// Moves [`CROSSING`] tokens from one core to the other, and takes the time.
fn cross<const N: usize>(
    (producer, consumer): (impl Push, impl Pop),
    cores: [CoreId; 2],
) -> Duration {
    let start = Barrier::new(2);
    let ready = |core| {
        assert!(core_affinity::set_for_current(core), "cannot pin to {core:?}");
        start.wait();
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            ready(cores[0]);
            produce::<N>(producer);
        });
        let consuming = scope.spawn(|| {
            ready(cores[1]);
            let begin = Instant::now();
            consume::<N>(consumer);
            begin.elapsed()
        });
        consuming.join().expect("all tokens came")
    })
}

fn produce<const N: usize>(mut producer: impl Push) {
    let mut tokens = (0..CROSSING).map(Token::new);
    let mut batch = Batch::<N>::new();
    loop {
        let room = batch.remaining_capacity();
        batch.extend(tokens.by_ref().take(room));
        if batch.is_empty() {
            return;
        }
        producer.push(&mut batch);
        if batch.is_full() {
            spin_loop();
        }
    }
}

fn consume<const N: usize>(mut consumer: impl Pop) {
    let mut batch = Batch::<N>::new();
    let (mut count, mut sum) = (0, 0u64);
    while count < u64::from(CROSSING) {
        consumer.pop(&mut batch);
        if batch.is_empty() {
            spin_loop();
        }
        count += batch.len() as u64;
        sum = batch.drain(..).fold(sum, |sum, token| sum + token.value());
    }
    let expected = count * (count - 1) / 2 + count * Token::new(0).value();
    assert_eq!((count, sum), (CROSSING.into(), expected), "every token came out once");
}

fn across_cores<const N: usize>(criterion: &mut Criterion) {
    fn bench<const N: usize, P: Push, C: Pop>(
        group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
        name: &str,
        cores: [CoreId; 2],
        ends: impl Fn() -> (P, C),
    ) {
        group.bench_function(BenchmarkId::new(name, N), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| cross::<N>(ends(), cores)).sum());
        });
    }
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let [producer, consumer, ..] = cores[..] else {
        println!("skipped: ring-cross needs two cores");
        return;
    };
    let cores = [producer, consumer];
    let mut group = criterion.benchmark_group("ring-cross");
    group.throughput(Throughput::Elements(CROSSING.into()));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    bench::<N, _, _>(&mut group, "bond", cores, ours);
    bench::<N, _, _>(&mut group, "rtrb-chunks", cores, chunks);
    bench::<N, _, _>(&mut group, "rtrb-singly", cores, singly);
    bench::<N, _, _>(&mut group, "array-queue", cores, array_queue);
    group.finish();
}

fn ring(criterion: &mut Criterion) {
    hop::<1>(criterion);
    hop::<8>(criterion);
    hop::<64>(criterion);
    across_cores::<1>(criterion);
    across_cores::<8>(criterion);
    across_cores::<64>(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(micro::WARM_UP).measurement_time(micro::MEASUREMENT);
    targets = ring
}
criterion_main!(benches);
