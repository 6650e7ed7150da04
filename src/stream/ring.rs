//! A queue of frames between two threads, in which silence takes no room.
//!
//! ```text
//! time        0      1      2      3      4      5     ...     written
//! frames      sound  -      -      sound  -      -             (- is silence)
//! samples     |  sound 0  |  sound 3  |
//! marks       |  0  |  3  |
//! ```
//!
//! Only frames that sound are in it, each with a mark that says where in time it stands; all that lies between two marks
//! is silence. How far time has come, is a number that the writer publishes last. So a writer of silence adds to a number,
//! and the memory of the ring bounds what sounds, not what is silent.
//!
//! Frames are of all channels of a stream; each channel of a frame sounds or is silent by itself.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::isolation::{Isolation, Lock};

/// How far time has come.
#[derive(Debug, Default)]
struct Written(AtomicU64);

/// The end that frames go into.
#[derive(Debug)]
pub(super) struct RingWriter {
    /// The first to go.
    locks: Vec<Lock>,
    samples: Producer<f32>,
    marks: Producer<u64>,
    written: Arc<Written>,
    channels: u64,
    /// Frames so far, published or not.
    next: u64,
}

/// The end that frames come out of.
#[derive(Debug)]
pub(super) struct RingReader {
    samples: Consumer<f32>,
    marks: Consumer<u64>,
    written: Arc<Written>,
    channels: u64,
    frame_floats: usize,
    next: u64,
    /// Frames that were dropped, in order, and not passed by: they read as silence.
    dropped: VecDeque<Range<u64>>,
}

/// Runs of dropped frames that are kept apart; more are joined with what lies between them.
const MOST_RUNS: usize = 1024;

/// A ring that has room for so many frames in which all channels sound; `frame_floats` is of one channel.
pub(super) fn ring(channels: usize, frame_floats: usize, frames: usize) -> (RingWriter, RingReader) {
    let (samples_in, samples_out) = RingBuffer::new(channels * frames * frame_floats);
    let (marks_in, marks_out) = RingBuffer::new(channels * frames);
    let written = Arc::new(Written::default());
    let channels = channels as u64;
    let dropped = VecDeque::new();
    let locks = Vec::new();
    let writer =
        RingWriter { locks, samples: samples_in, marks: marks_in, written: Arc::clone(&written), channels, next: 0 };
    let reader =
        RingReader { samples: samples_out, marks: marks_out, written, channels, frame_floats, next: 0, dropped };
    (writer, reader)
}

impl RingWriter {
    /// Keeps the memory of an empty ring in its place, as far as that is asked for.
    pub(super) fn keep(&mut self, isolation: &Isolation) {
        if !isolation.locks_memory() {
            return;
        }
        if let Ok(mut chunk) = self.samples.write_chunk_uninit(self.samples.slots()) {
            self.locks.push(isolation.lock(<[_; 2]>::from(chunk.as_mut_slices())));
        }
        if let Ok(mut chunk) = self.marks.write_chunk_uninit(self.marks.slots()) {
            self.locks.push(isolation.lock(<[_; 2]>::from(chunk.as_mut_slices())));
        }
    }

    /// Channels of frames that may sound before there is no room.
    pub(super) fn room(&self) -> usize {
        self.marks.slots()
    }

    /// Frames so far.
    pub(super) fn frames(&self) -> u64 {
        self.next
    }

    /// Puts what a channel of the next frame sounds into it; channels in ascending order. There must be
    /// [room](Self::room).
    pub(super) fn sound(&mut self, channel: usize, samples: &[f32]) {
        let mark = self.next * self.channels + channel as u64;
        let fits = self.samples.push_entire_slice(samples).is_ok() && self.marks.push(mark).is_ok();
        debug_assert!(fits, "the caller should have asked for room");
    }

    /// Time goes on by some frames: the first of them with what was put into it, the others silent.
    pub(super) fn advance(&mut self, frames: u64) {
        self.next += frames;
    }

    /// Lets the reader see them.
    pub(super) fn publish(&mut self) {
        self.written.0.store(self.next, Ordering::Release);
    }
}

impl RingReader {
    /// That of a ring of which nothing will ever come, and which takes no memory.
    pub(super) fn of_nothing() -> Self {
        ring(1, 1, 0).1
    }

    /// Frames that were read.
    pub(super) fn frames(&self) -> u64 {
        self.next
    }

    /// Frames that can be read.
    pub(super) fn available(&self) -> u64 {
        self.written.0.load(Ordering::Acquire) - self.next
    }

    /// Of so many frames that are available, how many are silent before the first that is not.
    pub(super) fn silent(&self, available: u64) -> u64 {
        let sounds_at = self.marks.peek().map_or(u64::MAX, |mark| *mark / self.channels);
        sounds_at.saturating_sub(self.next).min(available)
    }

    /// The next channel of the frame at hand that sounds and was not read.
    pub(super) fn sounding(&self) -> Option<usize> {
        let mark = self.marks.peek().ok().filter(|mark| **mark / self.channels == self.next)?;
        usize::try_from(*mark % self.channels).ok()
    }

    /// Reads what that channel sounds.
    pub(super) fn read(&mut self, samples: &mut [f32]) {
        let is_there = self.samples.pop_entire_slice(samples).is_ok() && self.marks.pop().is_ok();
        debug_assert!(is_there, "the caller should have asked whether it sounds");
    }

    /// Goes on by frames, the first of which was read and the others are silent; returns how many of them had not been
    /// dropped.
    pub(super) fn advance(&mut self, frames: u64) -> u64 {
        let end = self.next + frames;
        let mut dropped = 0;
        while let Some(run) = self.dropped.front_mut().filter(|run| run.start < end) {
            let passed = run.end.min(end);
            dropped += passed - run.start;
            run.start = passed;
            if run.is_empty() {
                self.dropped.pop_front();
            }
        }
        self.next = end;
        frames - dropped
    }

    /// Makes the first frame that sounds silent; returns how many frames count as dropped by that.
    pub(super) fn drop_oldest(&mut self) -> u64 {
        let Ok(frame) = self.marks.peek().map(|mark| *mark / self.channels) else { return 0 };
        while self.marks.peek().is_ok_and(|mark| *mark / self.channels == frame) {
            self.marks.pop().ok();
            if let Ok(samples) = self.samples.read_chunk(self.frame_floats) {
                samples.commit_all();
            }
        }
        self.note_dropped(frame)
    }

    /// Notes that a frame, which never came in, counts as dropped; returns how many do by that.
    pub(super) fn note_dropped(&mut self, frame: u64) -> u64 {
        let joins = self.dropped.len() >= MOST_RUNS;
        match self.dropped.back_mut() {
            Some(run) if run.end == frame || (joins && run.end < frame) => {
                let more = frame + 1 - run.end;
                run.end = frame + 1;
                more
            }
            _ => {
                self.dropped.push_back(frame..frame + 1);
                1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const FLOATS: usize = 3;

    /// What the other end of a ring should see: for each frame, what each channel sounds; and which frames were dropped.
    #[derive(Default)]
    struct Model {
        frames: Vec<BTreeMap<usize, f32>>,
        dropped: Vec<bool>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A frame in which these channels sound.
        Sound(u8),
        Silence(u64),
        Publish,
        DropOldest,
        Read(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1..8_u8).prop_map(Step::Sound),
            2 => (1..2000_u64).prop_map(Step::Silence),
            3 => Just(Step::Publish),
            1 => Just(Step::DropOldest),
            3 => (1..6_u64).prop_map(Step::Read),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written_and_counts_are_exact(steps in steps(), room in 1..5_usize) {
            let (mut writer, mut reader) = ring(3, FLOATS, room);
            let (mut model, mut at, mut published, mut popped, mut lost) = (Model::default(), 0, 0, 0, 0);
            for step in steps {
                match step {
                    Step::Sound(channels) if writer.room() >= 3 => {
                        let mut frame = BTreeMap::new();
                        for channel in (0..3).filter(|channel| channels & (1 << channel) != 0) {
                            let value = (10 * model.frames.len() + channel) as f32;
                            writer.sound(channel, &[value; FLOATS]);
                            frame.insert(channel, value);
                        }
                        writer.advance(1);
                        model.frames.push(frame);
                        model.dropped.push(false);
                    }
                    Step::Sound(_) => {}
                    Step::Silence(frames) => {
                        writer.advance(frames);
                        model.frames.extend((0..frames).map(|_| BTreeMap::new()));
                        model.dropped.resize(model.frames.len(), false);
                    }
                    Step::Publish => {
                        writer.publish();
                        published = model.frames.len();
                    }
                    Step::DropOldest => {
                        let oldest = (at..model.frames.len()).find(|frame| !model.frames[*frame].is_empty());
                        let dropped = reader.drop_oldest();
                        prop_assert_eq!(dropped > 0, oldest.is_some());
                        if let Some(oldest) = oldest {
                            model.frames[oldest].clear();
                            model.dropped[oldest] = true;
                        }
                        lost += dropped;
                    }
                    Step::Read(frames) => {
                        for _ in 0..frames.min(reader.available()) {
                            prop_assert!(at < published, "nothing is seen before it is published");
                            let silent = reader.silent(reader.available());
                            prop_assert_eq!(silent == 0, !model.frames[at].is_empty());
                            let mut heard = BTreeMap::new();
                            while let Some(channel) = reader.sounding() {
                                let mut samples = [f32::NAN; FLOATS];
                                reader.read(&mut samples);
                                prop_assert_eq!(samples, [samples[0]; FLOATS]);
                                heard.insert(channel, samples[0]);
                            }
                            prop_assert_eq!(&heard, &model.frames[at]);
                            let counts = reader.advance(1);
                            prop_assert_eq!(counts, u64::from(!model.dropped[at]), "frame {}", at);
                            popped += counts;
                            at += 1;
                        }
                        prop_assert_eq!(reader.available(), (published - at) as u64);
                    }
                }
            }
            let dropped_so_far = model.dropped[..at].iter().filter(|dropped| **dropped).count() as u64;
            prop_assert_eq!(popped + dropped_so_far, at as u64);
            prop_assert_eq!(lost, model.dropped.iter().filter(|dropped| **dropped).count() as u64);
        }

        #[test]
        fn newest_frames_that_were_dropped_count_as_such_however_many_gaps_there_are(
            gaps in proptest::collection::vec((1..4_u64, 0..3_u64), 0..3 * MOST_RUNS),
            read in 1..50_u64,
        ) {
            let (mut writer, mut reader) = ring(1, FLOATS, 2);
            let mut dropped = 0;
            for (lost, silent) in gaps {
                for _ in 0..lost {
                    dropped += reader.note_dropped(writer.frames());
                    writer.advance(1);
                }
                writer.advance(silent);
            }
            writer.publish();
            prop_assert!(reader.dropped.len() <= MOST_RUNS, "memory is bounded");
            let (all, mut popped) = (reader.available(), 0);
            while reader.available() > 0 {
                popped += reader.advance(read.min(reader.available()));
            }
            prop_assert_eq!(popped + dropped, all, "every frame is one or the other");
        }
    }

    #[test]
    fn two_threads_see_the_same() {
        const FRAMES: u64 = 20_000;
        let (mut writer, mut reader) = ring(2, FLOATS, 3);
        let sounds = |frame: u64| frame.wrapping_mul(0x9e37_79b9).is_multiple_of(3);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for frame in 0..FRAMES {
                    while sounds(frame) && writer.room() < 2 {
                        std::hint::spin_loop();
                    }
                    if sounds(frame) {
                        writer.sound(0, &[frame as f32; FLOATS]);
                        writer.sound(1, &[-(frame as f32); FLOATS]);
                    }
                    writer.advance(1);
                    writer.publish();
                }
            });
            for frame in 0..FRAMES {
                while reader.available() == 0 {
                    std::hint::spin_loop();
                }
                let mut samples = [0.0; FLOATS];
                assert_eq!(reader.sounding(), sounds(frame).then_some(0), "frame {frame}");
                for sign in [1.0, -1.0] {
                    if reader.sounding().is_some() {
                        reader.read(&mut samples);
                        assert_eq!(samples, [sign * frame as f32; FLOATS], "frame {frame}");
                    }
                }
                assert_eq!(reader.advance(1), 1);
            }
        });
    }
}
