//! The public error type: each variant names the thing that failed, what was found and what would work.

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A graph that cannot be compiled; `problem` names the mend.
    #[error("graph node `{node}`: {problem}")]
    Graph {
        /// The node where the graph is wrong.
        node: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A custom kernel that was refused before any driver saw it, or whose loops did not end.
    #[error("custom kernel of node `{node}`: {problem}")]
    CustomKernel {
        /// The node that brings the kernel.
        node: String,
        /// What validation found, or how far the loops went.
        problem: String,
    },

    /// A setting outside what is allowed.
    #[error("{setting} is {actual}, but {expected}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// The value that was given.
        actual: String,
        /// What is allowed, as the end of a sentence.
        expected: String,
    },

    /// No window could be opened, or no picture of one be drawn.
    #[cfg(feature = "dashboard")]
    #[error("the dashboard cannot be shown: {reason}; {next}")]
    Window {
        /// What is in the way.
        reason: String,
        /// What to do.
        next: &'static str,
    },

    /// Samples that do not fit the plan they were given to.
    #[error("input `{input}`: expected {expected}, got {actual}")]
    BatchShape {
        /// The graph input.
        input: String,
        /// What the plan needs.
        expected: String,
        /// What was given.
        actual: String,
    },

    /// A frame with a NaN or an infinity, where the gate was asked to reject those.
    #[error(
        "channel {channel}, frame {frame}: the gate found a NaN or an infinity at sample {sample} of the channel; \
         treat such frames as silence (`--faulty silence`, `Faulty::Silence`) or mend the source"
    )]
    FaultyFrame {
        /// The channel, from 0.
        channel: usize,
        /// The frame within the channel, from 0, counted from the start of the session.
        frame: u64,
        /// The first faulty sample within the channel, from 0.
        sample: u64,
    },

    /// A device that was asked for by name and is not there.
    #[error("no device matches `{wanted}`; there are: {available}")]
    UnknownDevice {
        /// The name that was asked for.
        wanted: String,
        /// The names to choose from.
        available: String,
    },

    /// A GPU was asked for, and there is none.
    #[error("no hardware GPU found ({found}); use `cpu`, or name a software adapter to run on it all the same")]
    NoGpu {
        /// The adapters that were found.
        found: String,
    },

    /// A device that could not be opened, or that failed at a task.
    #[error("device `{device}`: {action} failed: {reason}")]
    Device {
        /// The device's name.
        device: String,
        /// What it was doing.
        action: &'static str,
        /// What the driver or wgpu said.
        reason: String,
    },

    /// A device without room for what was asked of it. It is as good as before.
    #[error("device `{device}`: no memory left while {action}: {reason}; use smaller batches or fewer channels")]
    OutOfMemory {
        /// The device's name.
        device: String,
        /// What it was doing.
        action: &'static str,
        /// What the driver or wgpu said.
        reason: String,
    },

    /// The device stopped answering; nothing that was in flight has a result.
    #[error("device `{device}` was lost: {reason}; open it again, or use `cpu`")]
    DeviceLost {
        /// The device's name.
        device: String,
        /// What the driver said.
        reason: String,
    },

    /// A session that failed half-way through a push: a denoiser had heard samples that were not given back.
    #[error("this session failed half-way through an earlier push; open a new one")]
    BrokenSession,

    /// A queue that takes no more jobs just now.
    #[error(
        "the queue of `{qos}` jobs is full ({waiting} wait); try again in {} ms, or open the engine with a larger one",
        retry_after.as_millis().max(1)
    )]
    QueueFull {
        /// The level whose queue it is.
        qos: crate::qos::Qos,
        /// Jobs in it.
        waiting: usize,
        /// When a place in it should come free.
        retry_after: std::time::Duration,
    },

    /// A job whose time was over before it was done.
    #[error("job `{job}` was not done within {} ms: give it more time, a higher QoS, or less to do", after.as_millis())]
    Expired {
        /// The job's name.
        job: String,
        /// The time that it had.
        after: std::time::Duration,
    },

    /// A job that somebody cancelled.
    #[error("job `{job}` was cancelled")]
    Cancelled {
        /// The job's name.
        job: String,
    },

    /// A job that came when the engine was shutting down, or was not done by then.
    #[error("job `{job}` was given up: the engine shuts down")]
    ShutDown {
        /// The job's name.
        job: String,
    },

    /// An app's own code panicked on a lane.
    #[error("a job panicked on its lane: {message}")]
    JobPanicked {
        /// What it said.
        message: String,
    },

    /// A stream whose device or kernel failed, or whose callback panicked.
    #[error("stream `{stream}` ended before its end: {reason}; open it anew")]
    Stream {
        /// The stream's name.
        stream: String,
        /// What failed.
        reason: String,
    },

    /// A stream that takes nothing more.
    #[error("stream `{stream}` takes no more samples: its input was finished, or nobody is there to pull its output")]
    StreamFinished {
        /// The stream's name.
        stream: String,
    },

    /// A ticket whose answer was taken before.
    #[error("the answer of this job was taken from its ticket before: there is only one")]
    AnswerTaken,

    /// A signal file that cannot be read or written.
    #[error(transparent)]
    File(#[from] crate::format::FileError),

    /// A model that cannot be used.
    #[error(transparent)]
    Model(#[from] crate::tensors::ModelError),

    /// Signals that cannot be measured.
    #[error(transparent)]
    Quality(#[from] crate::quality::QualityError),
}

impl Error {
    pub(crate) fn graph(node: &str, problem: impl Into<String>) -> Self {
        Self::Graph { node: node.to_owned(), problem: problem.into() }
    }

    /// Whether the device is to blame, so that another one might do better.
    pub(crate) fn is_of_device(&self) -> bool {
        matches!(self, Self::Device { .. } | Self::DeviceLost { .. })
    }

    pub(crate) fn setting(setting: &'static str, actual: impl ToString, expected: impl Into<String>) -> Self {
        Self::Setting { setting, actual: actual.to_string(), expected: expected.into() }
    }
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
