//! Host memory for samples: zeroed, aligned, and on huge pages where that pays.
//!
//! On 4 KiB pages a core reads memory at about 60 % of the speed that 2 MiB pages allow, and the
//! gate does little else than read. The system allocator gives no such pages, so large buffers are
//! mapped here, on a 2 MiB boundary, with the advice to use huge pages.

use memmap2::{MmapMut, MmapOptions};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

/// A huge page of x86-64 and of the usual 64-bit ARM kernels.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A cache line, and the widest vector.
const LINE_BYTES: usize = 64;

const FLOAT_BYTES: usize = size_of::<f32>();

/// A block of f32 that starts at a multiple of 64 bytes, or of 2 MiB if it is that long.
///
/// Memory from the system is zero until written, and costs nothing until touched.
pub struct HostBuffer {
    store: Store,
    /// Floats skipped so that the payload is aligned.
    skip: usize,
    len: usize,
    huge_pages: HugePages,
}

enum Store {
    Mapped(MmapMut),
    Allocated(Vec<f32>),
}

/// Whether a [`HostBuffer`] lies on huge pages, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// The system took the advice; it may still be short of such pages.
    Advised,
    /// The system refused the mapping or the advice, for this reason.
    Refused(io::ErrorKind),
    /// The buffer is small, or the system knows no such advice.
    NotAsked,
}

/// How far memory is sure to be there, the surest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryTier {
    /// Locked: it stays in physical memory.
    Locked,
    /// On huge pages, as far as the system has any, and touched.
    HugePages,
    /// Touched, so that it is there now; the system may take it away.
    Prefaulted,
    /// As the system gives it: the first touch of a page waits for it.
    #[default]
    Plain,
}

impl HostBuffer {
    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        if len < HUGE_PAGE_BYTES / FLOAT_BYTES {
            return Self::allocated(len, HugePages::NotAsked);
        }
        match Self::mapped(len) {
            Ok(buffer) => buffer,
            Err(error) => Self::allocated(len, HugePages::Refused(error.kind())),
        }
    }

    fn allocated(len: usize, huge_pages: HugePages) -> Self {
        let floats = vec![0.0_f32; len + LINE_BYTES / FLOAT_BYTES];
        Self { skip: floats.as_ptr().align_offset(LINE_BYTES), store: Store::Allocated(floats), len, huge_pages }
    }

    fn mapped(len: usize) -> io::Result<Self> {
        let bytes = len.checked_mul(FLOAT_BYTES);
        let bytes = bytes.and_then(|bytes| bytes.checked_next_multiple_of(HUGE_PAGE_BYTES));
        let bytes = bytes.and_then(|bytes| bytes.checked_add(HUGE_PAGE_BYTES));
        let bytes = bytes.ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapOptions::new().len(bytes).map_anon()?;
        Ok(Self {
            huge_pages: advise_huge_pages(&map),
            skip: map.as_ptr().align_offset(HUGE_PAGE_BYTES) / FLOAT_BYTES,
            store: Store::Mapped(map),
            len,
        })
    }

    /// Whether the system was asked for huge pages, and what it said.
    pub fn huge_pages(&self) -> HugePages {
        self.huge_pages
    }

    /// Brings the buffer into physical memory, so that nobody waits for a page when it is touched first; and keeps it there
    /// if it is 2 MiB or more and the system allows it (`ulimit -l`). Growing it later undoes that.
    pub fn settle(&mut self) -> MemoryTier {
        #[cfg(unix)]
        if let Store::Mapped(map) = &self.store
            && map.lock().is_ok()
        {
            return MemoryTier::Locked;
        }
        // Writing what is there brings a page in; reading might not. The last chunk may begin on one and end on the next.
        for page in self.floats_mut().chunks_mut(4096 / FLOAT_BYTES) {
            page[0] = std::hint::black_box(page[0]);
        }
        if let Some(last) = self.floats_mut().last_mut() {
            *last = std::hint::black_box(*last);
        }
        if self.huge_pages == HugePages::Advised { MemoryTier::HugePages } else { MemoryTier::Prefaulted }
    }

    /// Makes the length `len`; keeps what is in both lengths, the rest is zero.
    ///
    /// Moves the data if it does not fit where it is; never gives memory back.
    pub fn resize(&mut self, len: usize) {
        if len > self.capacity() {
            let mut larger = Self::zeroed(len);
            larger[..self.len].copy_from_slice(self);
            *self = larger;
            return;
        }
        let old_len = std::mem::replace(&mut self.len, len);
        if len > old_len {
            // What lies past the old length may be left over from a longer life.
            self[old_len..].fill(0.0);
        }
    }

    /// Writes zeros.
    pub fn clear(&mut self) {
        self.fill(0.0);
    }

    fn capacity(&self) -> usize {
        self.floats().len() - self.skip
    }

    fn floats(&self) -> &[f32] {
        match &self.store {
            Store::Mapped(map) => bytemuck::cast_slice(map),
            Store::Allocated(floats) => floats,
        }
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        match &mut self.store {
            Store::Mapped(map) => bytemuck::cast_slice_mut(map),
            Store::Allocated(floats) => floats,
        }
    }
}

#[cfg(target_os = "linux")]
fn advise_huge_pages(map: &MmapMut) -> HugePages {
    match map.advise(memmap2::Advice::HugePage) {
        Ok(()) => HugePages::Advised,
        Err(error) => HugePages::Refused(error.kind()),
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_map: &MmapMut) -> HugePages {
    HugePages::NotAsked
}

impl Deref for HostBuffer {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &self.floats()[self.skip..][..self.len]
    }
}

impl DerefMut for HostBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        let (skip, len) = (self.skip, self.len);
        &mut self.floats_mut()[skip..][..len]
    }
}

impl fmt::Debug for HostBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuffer")
            .field("len", &self.len)
            .field("huge_pages", &self.huge_pages)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_buffer_is_aligned_zeroed_and_resizable() {
        for len in [0, 1, 1000, (2 << 20) / 4, (2 << 20) / 4 + 1, 3_000_000] {
            let mut buffer = HostBuffer::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|x| *x == 0.0));
            let alignment =
                if len >= (2 << 20) / 4 && buffer.huge_pages() != HugePages::NotAsked { 2 << 20 } else { 64 };
            assert_eq!(buffer.as_ptr().addr() % alignment, 0);
            buffer.fill(1.0);
            buffer.resize(len / 2);
            buffer.resize(len + 10);
            assert_eq!(buffer.len(), len + 10);
            assert!(buffer[..len / 2].iter().all(|x| *x == 1.0));
            assert!(buffer[len / 2..].iter().all(|x| *x == 0.0));
            buffer.fill(2.0);
            buffer.clear();
            assert!(buffer.iter().all(|x| *x == 0.0));
        }
    }

    #[test]
    fn a_settled_buffer_holds_what_it_held() {
        for len in [1000, 3_000_000] {
            let mut buffer = HostBuffer::zeroed(len);
            let values = || (0..1000_u16).map(f32::from).cycle();
            buffer.iter_mut().zip(values()).for_each(|(value, set)| *value = set);
            let tier = buffer.settle();
            assert_ne!(tier, MemoryTier::Plain, "touched at least");
            assert!(buffer.iter().zip(values()).all(|(value, set)| *value == set), "{tier:?}");
        }
    }

    #[test]
    fn shrinking_and_growing_shows_nothing_old() {
        for len in [100, HUGE_PAGE_BYTES / FLOAT_BYTES] {
            let mut buffer = HostBuffer::zeroed(len);
            let place = buffer.as_ptr();
            buffer.fill(f32::NAN);
            buffer.resize(0);
            assert!(buffer.is_empty(), "nothing is left");
            buffer.resize(len);
            assert_eq!(buffer.as_ptr(), place, "no memory was given back");
            assert!(buffer.iter().all(|x| x.to_bits() == 0), "old values are gone");
        }
    }
}
