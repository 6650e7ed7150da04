//! What is asked for with one stream.

use std::borrow::Cow;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::qos::Qos;

/// How a stream is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamOptions {
    /// What it is called in errors and snapshots.
    pub name: Cow<'static, str>,
    /// Channels, whose samples are interleaved: 1 unless set, 4096 at most.
    pub channels: usize,
    /// The level of service. Streams of one plan, output and level go together.
    pub qos: Qos,
    /// The output of the plan that is pulled, which must be of the input's shape; the only one of that shape, unless set.
    pub output: Option<Cow<'static, str>>,
    /// Frames that may wait on the way in, and as many on the way out: 16 unless set. Silence takes no room.
    pub ring: usize,
    /// What happens to frames for which there is no room.
    pub back_pressure: BackPressure,
    /// How long a frame may wait for others to go with it, of its own or of other streams; the shortest of the group's
    /// counts. 1 ms unless set.
    pub max_delay: Duration,
    /// Frames that go together at most; the least of the group's counts. 256 unless set. What waits is sent off when there
    /// are so many, however long it has waited.
    pub max_batch: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            name: Cow::Borrowed("stream"),
            channels: 1,
            qos: Qos::Default,
            output: None,
            ring: 16,
            back_pressure: BackPressure::Block,
            max_delay: Duration::from_millis(1),
            max_batch: 256,
        }
    }
}

/// What happens to frames for which there is no room, because they come faster than they can be worked on, or because
/// nobody pulls what comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackPressure {
    /// Whoever pushes waits.
    #[default]
    Block,
    /// Those that have waited longest are dropped. Silence comes out in their place, so what follows stays in time.
    DropOldest,
    /// The new ones are dropped, and silence comes out in their place.
    DropNewest,
}

/// Bytes that the rings of one stream may take.
const MOST_RING_BYTES: usize = 1 << 30;

impl StreamOptions {
    /// Refuses rings that no machine should be asked for.
    pub(super) fn check_memory(&self, frame_floats: usize, latency_frames: usize) -> Result<()> {
        let frames = 2 * self.ring + latency_frames + 2;
        let bytes = self.channels.saturating_mul(frames).saturating_mul(frame_floats * size_of::<f32>());
        if bytes > MOST_RING_BYTES {
            let actual = format!("{bytes} bytes for {} channels and {} frames", self.channels, self.ring);
            return Err(Error::setting("the stream's ring", actual, "1 GiB is the most; ask for fewer frames"));
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<()> {
        let within = |setting: &'static str, actual: usize, most: usize| {
            let expected = || format!("1 to {most} are allowed");
            if (1..=most).contains(&actual) { Ok(()) } else { Err(Error::setting(setting, actual, expected())) }
        };
        within("the stream's channels", self.channels, 4096)?;
        within("the stream's ring", self.ring, 1 << 16)?;
        within("the stream's largest batch", self.max_batch, 1 << 16)?;
        if self.max_delay > Duration::from_secs(60) {
            let expected = "60 s are the most that makes sense";
            return Err(Error::setting("the stream's longest delay", format!("{:?}", self.max_delay), expected));
        }
        Ok(())
    }
}
