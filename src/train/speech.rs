//! Clean speech to train on: some hours of it, spoken by espeak-ng in many voices, kept in one file.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use super::random::Random;
use super::sentences::sentence;
use super::signal::{resampled, whole};
use super::{SAMPLE_RATE_HZ, TrainError};

/// Whose rules of pronunciation are used; the text is always the same kind of English.
const LANGUAGES: &[&str] = &[
    "en-us",
    "en-us",
    "en-gb",
    "en-gb",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-029",
    "en-us-nyc",
    "en-gb-x-gbclan",
    "de",
    "fr-fr",
    "es",
    "it",
    "pl",
    "nl",
    "sv",
    "fi",
    "pt-br",
    "tr",
    "cs",
    "hu",
    "ro",
    "da",
    "nb",
    "cy",
    "af",
    "sw",
    "id",
    "is",
    "et",
    "lv",
    "sq",
    "eu",
    "ga",
    "ms",
    "hr",
    "sk",
];
/// The voices of espeak-ng that sound like people.
const VARIANTS: &[&str] = &[
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "adam",
    "Alex",
    "Alicia",
    "Andrea",
    "Andy",
    "Annie",
    "antonio",
    "aunty",
    "belinda",
    "benjamin",
    "boris",
    "caleb",
    "david",
    "Denis",
    "Diogo",
    "ed",
    "edward",
    "Gene",
    "Gene2",
    "gustave",
    "Henrique",
    "Hugo",
    "iven",
    "iven2",
    "iven3",
    "iven4",
    "Jacky",
    "john",
    "kaukovalta",
    "Lee",
    "linda",
    "marcelo",
    "Marco",
    "Mario",
    "max",
    "Michael",
    "michel",
    "miguel",
    "Mike",
    "norbert",
    "pablo",
    "paul",
    "pedro",
    "quincy",
    "rob",
    "robert",
    "sandro",
    "shelby",
    "steph",
    "steph2",
    "steph3",
    "travis",
    "victor",
    "zac",
    "anika",
    "grandma",
    "grandpa",
    "klatt",
    "klatt2",
    "klatt3",
    "klatt4",
];

/// Speech, one utterance after another with pauses between, at [`SAMPLE_RATE_HZ`].
#[derive(Debug)]
pub(crate) struct Speech {
    samples: Vec<i16>,
}

/// What a piece of speech is used for: the last twentieth is kept for judging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// To learn from.
    Training,
    /// To judge by.
    Validation,
}

impl Speech {
    /// From samples that somebody else made.
    pub(crate) fn new(samples: Vec<i16>) -> Self {
        Self { samples }
    }

    /// What `path` holds, or as many seconds of speech as asked for, which are then left there. Nothing when `proceed`,
    /// which hears how much there is, from 0 to 1, says no.
    pub(crate) fn at(
        path: &Path,
        seconds: usize,
        seed: u64,
        proceed: &mut dyn FnMut(f32) -> bool,
    ) -> Result<Option<Self>, TrainError> {
        let wanted = seconds * SAMPLE_RATE_HZ;
        if let Ok(bytes) = std::fs::read(path)
            && bytes.len() / 2 >= wanted
        {
            let samples = bytes.chunks_exact(2).take(wanted).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            return Ok(Some(Self::new(samples.collect())));
        }
        let mut samples = Vec::with_capacity(wanted);
        for utterance in 0.. {
            if samples.len() >= wanted {
                break;
            }
            samples.extend(utter(&mut Random::new(seed, utterance))?);
            if !proceed(samples.len() as f32 / wanted as f32) {
                return Ok(None);
            }
        }
        samples.truncate(wanted);
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        super::checkpoint::replace(path, &bytes)?;
        Ok(Some(Self::new(samples)))
    }

    /// `length` samples from somewhere, full scale 1.
    pub(crate) fn piece(&self, length: usize, of: Use, random: &mut Random) -> Vec<f32> {
        let kept = self.samples.len() / 20;
        let (first, count) = match of {
            Use::Training => (0, self.samples.len() - kept),
            Use::Validation => (self.samples.len() - kept, kept),
        };
        let start = first + random.below(count.saturating_sub(length).max(1));
        let end = (start + length).min(self.samples.len());
        let mut piece: Vec<f32> = self.samples[start..end].iter().map(|&sample| f32::from(sample) / 32768.0).collect();
        piece.resize(length, 0.0);
        piece
    }
}

/// A sentence by a voice, with the pause after it, as loud as any other.
fn utter(random: &mut Random) -> Result<Vec<i16>, TrainError> {
    let voice = format!("{}+{}", random.choose(LANGUAGES), random.choose(VARIANTS));
    let (pitch, speed, range) = (10 + random.below(80), 115 + random.below(115), 20 + random.below(70));
    let text = format!("<prosody range=\"{range}\">{}</prosody>", sentence(random));
    let spoken = espeak(&voice, pitch, speed, &text)?;
    let rate = 22_050.0 / SAMPLE_RATE_HZ as f32 * random.between_log(0.82, 1.22);
    let mut samples = resampled(&spoken, rate);
    let peak = samples.iter().fold(1e-3_f32, |peak, sample| peak.max(sample.abs()));
    samples.iter_mut().for_each(|sample| *sample *= 0.7 / peak);
    let pause = random.between(0.0, 1.0).powi(3) * 1.8 * SAMPLE_RATE_HZ as f32;
    samples.extend(std::iter::repeat_n(0.0, whole(pause)));
    #[expect(clippy::cast_possible_truncation, reason = "quantised to the range of the target")]
    let quantised = |sample: &f32| (sample * 32767.0) as i16;
    Ok(samples.iter().map(quantised).collect())
}

/// Samples at 22,050 Hz, full scale 1.
fn espeak(voice: &str, pitch: usize, speed: usize, text: &str) -> Result<Vec<f32>, TrainError> {
    let output = Command::new("espeak-ng")
        .args(["-m", "--stdout", "-v", voice, "-p", &pitch.to_string(), "-s", &speed.to_string(), text])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => TrainError::NoEspeak,
            _ => TrainError::Espeak { problem: error.to_string() },
        })?;
    if !output.status.success() || output.stdout.len() < 44 {
        return Err(TrainError::Espeak { problem: format!("the voice {voice} gave {} bytes", output.stdout.len()) });
    }
    let samples = output.stdout[44..].chunks_exact(2);
    Ok(samples.map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect())
}
