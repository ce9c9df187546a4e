//! The frame token: a chunk of a UMEM that user space owns right now.

/// Index of a UMEM within its worker.
pub type UmemId = u8;

/// What crosses the border to the kernel: a chunk and the bytes in it.
///
/// Freely copied, and therefore proof of nothing: only the ledgers, [`super::Frames`] and [`super::Lent`], turn one into
/// a [`Frame`], after they have checked that the kernel owned that chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desc {
    /// Chunk index in the UMEM. From the kernel this may be any value.
    pub chunk: u32,
    /// Where in the chunk the frame begins, in bytes.
    pub offset: u16,
    /// Bytes of the frame, without the FCS.
    pub len: u16,
}

impl Desc {
    /// A chunk without a frame.
    #[must_use]
    pub const fn empty(chunk: u32) -> Self {
        Self { chunk, offset: 0, len: 0 }
    }
}

/// One chunk of a UMEM, owned by whoever holds the token.
///
/// Linear on purpose: not `Copy`, not `Clone`, and made by the two ledgers alone, so that handing
/// the same chunk to two rings does not compile. A token that is simply dropped shows up as `held`
/// in the census for ever.
///
/// ```
/// # use bond::xsk::Frames;
/// let mut frames = Frames::new(0, 1);
/// let frame = frames.take().expect("one chunk is free");
/// frames.put(frame);
/// ```
///
/// ```compile_fail,E0382
/// # use bond::xsk::Frames;
/// let mut frames = Frames::new(0, 1);
/// let frame = frames.take().expect("one chunk is free");
/// frames.put(frame);
/// frames.put(frame); // used after it was moved
/// ```
#[derive(Debug)]
#[must_use = "a dropped frame is lost to its UMEM: send it or put it back"]
pub struct Frame {
    pub(super) desc: Desc,
    pub(super) umem: UmemId,
}

impl Frame {
    /// Chunk and length, as the rings want them.
    #[must_use]
    pub fn desc(&self) -> Desc {
        self.desc
    }

    /// Bytes of the frame, without the FCS.
    #[must_use]
    pub fn len(&self) -> u16 {
        self.desc.len
    }

    /// True for a frame without bytes: one that was just taken from the free list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.desc.len == 0
    }

    /// The UMEM this chunk belongs to.
    #[must_use]
    pub fn umem(&self) -> UmemId {
        self.umem
    }

    /// Says where `len` bytes were written into a frame that was taken from the free list.
    pub fn set_bytes(&mut self, offset: u16, len: u16) {
        (self.desc.offset, self.desc.len) = (offset, len);
    }
}
