//! The built programs.

/// The object `cargo xtask ebpf` built from this crate, aligned as ELF parsers ask for.
pub static OBJECT: &[u8] = &ALIGNED.0;

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../traffic.o"));

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);
