//! Feeding streams in real time, and listening to what goes in and what comes out.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::desk::{Shared, lock};
use super::ear::{Ear, Loudness};
use super::sound::Player;
use crate::error::{Error, Result};
use crate::format::SignalSpec;
use crate::frame::Domain;
use crate::qos::Qos;
use crate::stream::{StreamControl, StreamCounters, StreamInput, StreamOutput};

/// How often samples are pushed.
const FEED_EVERY: Duration = Duration::from_millis(20);
/// What is due for longer than that, because the machine stood still, is left out.
const MOST_DUE_S: f64 = 0.25;
/// Floats that are pulled at once.
const PULL_FLOATS: usize = 1 << 14;

/// A stream, and where its samples come from.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) id: u64,
    pub(super) name: String,
    player: Player,
    input: StreamInput,
    control: StreamControl,
    /// The last one is that of the input; what is left in those before it comes first.
    outputs: VecDeque<StreamOutput>,
    /// What earlier streams of this feed dropped.
    dropped: u64,
    /// Sample times that are due and were not pushed, as far as they are not whole.
    due: f64,
    /// Floats that went in and have not come out.
    in_flight: u64,
    before: Loudness,
    after: Loudness,
    sounded: u64,
    error: Option<String>,
}

/// One stream at one moment.
#[derive(Clone, Debug)]
pub(super) struct FeedFigures {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) qos: Qos,
    pub(super) rate_hz: f64,
    pub(super) channels: usize,
    pub(super) counters: StreamCounters,
    pub(super) dropped: u64,
    /// Peak and root mean square in dBFS, going in and coming out; none where nothing did.
    pub(super) before: Option<(f32, f32)>,
    pub(super) after: Option<(f32, f32)>,
    /// Whether the gate has let something through since the last look.
    pub(super) is_open: bool,
    pub(super) error: Option<String>,
}

impl Feed {
    pub(super) fn new(id: u64, name: String, player: Player, (input, output): (StreamInput, StreamOutput)) -> Self {
        let control = input.control();
        let (before, after, error) = Default::default();
        let outputs = VecDeque::from([output]);
        Self {
            id,
            name,
            player,
            input,
            control,
            outputs,
            dropped: 0,
            due: 0.0,
            in_flight: 0,
            before,
            after,
            sounded: 0,
            error,
        }
    }

    pub(super) fn control(&self) -> StreamControl {
        self.control.clone()
    }

    pub(super) fn qos(&self) -> Qos {
        self.control.qos()
    }

    pub(super) fn spec(&self) -> SignalSpec {
        self.player.spec()
    }

    pub(super) fn rate_hz(&self) -> f64 {
        self.player.rate_hz()
    }

    pub(super) fn domain(&self) -> Domain {
        self.player.domain()
    }

    /// Pushes into another stream from here on. What went into the one before it still comes out, first.
    /// Where its engine is gone, there is nothing more to come.
    pub(super) fn go_on_with(&mut self, (input, output): (StreamInput, StreamOutput), is_other_engine: bool) {
        if is_other_engine {
            self.outputs.clear();
            self.in_flight = 0;
        }
        self.input.finish();
        self.dropped += self.control.counters().dropped;
        self.control = input.control();
        self.input = input;
        self.outputs.push_back(output);
        (self.sounded, self.error) = (0, None);
    }

    /// Floats of all channels at one time.
    fn floats_per_time(&self) -> usize {
        self.player.channels() * self.domain().floats_per_sample()
    }

    /// What it dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped + self.control.counters().dropped
    }

    /// What it was since the last look.
    pub(super) fn figures(&mut self) -> FeedFigures {
        let counters = self.control.counters();
        let is_open = counters.sounded > std::mem::replace(&mut self.sounded, counters.sounded);
        FeedFigures {
            id: self.id,
            name: self.name.clone(),
            qos: self.qos(),
            rate_hz: self.rate_hz(),
            channels: self.player.channels(),
            counters,
            dropped: self.dropped(),
            before: self.before.take(),
            after: self.after.take(),
            is_open,
            error: self.error.clone(),
        }
    }

    /// Fills the room with what is due after `seconds`. A file may take its time.
    fn play(&mut self, seconds: f64, room: &mut Vec<f32>) -> Result<()> {
        let rate_hz = self.rate_hz();
        self.due = (self.due + seconds * rate_hz).min(MOST_DUE_S * rate_hz);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive and bounded")]
        let times = self.due as usize;
        self.due -= times as f64;
        room.clear();
        room.resize(times * self.floats_per_time(), 0.0);
        if times > 0 { self.player.play(room) } else { Ok(()) }
    }

    /// Pushes what is in the room, and takes what has come out.
    fn exchange(&mut self, mut ear: Option<(&mut Ear, usize)>, room: &mut Vec<f32>) -> Result<()> {
        let channels = self.player.channels();
        if let Some((ear, _)) = &mut ear {
            // What comes out first went in before anybody listened.
            ear.skip.get_or_insert(self.in_flight);
        }
        if !room.is_empty() {
            self.input.push(room)?;
            self.in_flight += room.len() as u64;
            self.before.hear(room);
            if let Some((ear, channel)) = &mut ear {
                ear.before.hear(room, channels, *channel);
            }
        }
        // Whole sample times, so that channels are told apart.
        let per_time = self.floats_per_time();
        room.resize((PULL_FLOATS / per_time).max(1) * per_time, 0.0);
        while let Some(output) = self.outputs.front_mut() {
            let count = match output.pull(room) {
                // An engine that was shut down has told so itself.
                Err(_) if self.outputs.len() > 1 => 0,
                pulled => pulled?,
            };
            self.in_flight = self.in_flight.saturating_sub(count as u64);
            self.after.hear(&room[..count]);
            if let Some((ear, channel)) = &mut ear {
                let skipped = ear.skipped(count);
                ear.after.hear(&room[skipped..count], channels, *channel);
            }
            if count > 0 {
                continue;
            }
            let is_last = self.outputs.len() == 1;
            if is_last || !self.outputs.front().is_some_and(StreamOutput::is_finished) {
                break;
            }
            self.outputs.pop_front();
        }
        Ok(())
    }
}

/// Feeds all streams until the dashboard ends.
pub(super) fn feed(shared: &Shared) {
    let mut last = Instant::now();
    let mut room = Vec::new();
    while !shared.quits() {
        let now = Instant::now();
        let seconds = if shared.is_fed.load(Ordering::Relaxed) { (now - last).as_secs_f64() } else { 0.0 };
        last = now;
        let mut feeds = lock(&shared.feeds);
        for feed in feeds.iter_mut().filter(|feed| feed.error.is_none()) {
            match feed.play(seconds, &mut room).and_then(|()| exchange(shared, feed, &mut room)) {
                Ok(()) => {}
                // The engine is being restarted: another stream comes.
                Err(Error::ShutDown { .. }) => {}
                Err(error) => feed.error = Some(error.to_string()),
            }
        }
        drop(feeds);
        std::thread::sleep(FEED_EVERY.saturating_sub(now.elapsed()));
    }
}

/// The window draws what the ear has heard, so that is held for the one feed that is listened to, and not for its file.
fn exchange(shared: &Shared, feed: &mut Feed, room: &mut Vec<f32>) -> Result<()> {
    let mut listening = lock(&shared.ear);
    if listening.stream != feed.id {
        drop(listening);
        return feed.exchange(None, room);
    }
    let channel = listening.channel.min(feed.player.channels() - 1);
    feed.exchange(listening.ear.as_mut().map(|ear| (ear, channel)), room)
}
