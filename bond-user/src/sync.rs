//! The primitives of the lock-free code: core's, or loom's with feature `loom`.
//!
//! Not `cfg(loom)`: that would reach, and build anew, every crate below this one.

#[cfg(feature = "loom")]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(feature = "loom"))]
pub(crate) use {
    self::cell::UnsafeCell,
    std::sync::Arc,
    std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(not(feature = "loom"))]
mod cell {
    /// Core's cell with loom's interface, in which an access is a closure and so has an end.
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        /// Calls `access` with the address of the value, which it may use for exclusive access
        /// until it returns, if the caller has made sure that there is no other.
        #[inline]
        pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
            access(self.0.get())
        }
    }
}
