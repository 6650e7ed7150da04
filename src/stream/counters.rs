//! What became of what was pushed.

/// Floats that were pushed into a stream, and what became of them: `pushed = popped + dropped + queued`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct StreamCounters {
    /// All that were taken in, silence included.
    pub pushed: u64,
    /// What the engine has worked on.
    pub popped: u64,
    /// What had no room: silence comes out in its place. Where more than 1024 gaps wait at once, what lies between the later
    /// ones counts as dropped with them, though it comes out.
    pub dropped: u64,
    /// What waits, the beginning of a frame included.
    pub queued: u64,
    /// Frames of channels that the gate let through, or that met no gate; these are not floats.
    pub sounded: u64,
}
