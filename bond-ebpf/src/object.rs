//! The built programs.

/// The object `cargo xtask ebpf` built from this crate: ELF for eBPF, little-endian, with BTF, at an
/// address that is a multiple of 8 (what ELF parsers such as aya's ask for).
pub static OBJECT: &[u8] = &ALIGNED.0;

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../bond-ebpf.o"));

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

#[cfg(test)]
mod tests {
    use super::OBJECT;

    #[test]
    fn object_is_elf_for_ebpf() {
        assert_eq!(OBJECT.as_ptr().addr() % 8, 0);
        assert_eq!(OBJECT[..6], *b"\x7fELF\x02\x01", "64 bits, little-endian");
        assert_eq!(OBJECT[18..20], 247_u16.to_le_bytes(), "e_machine: EM_BPF");
    }
}
