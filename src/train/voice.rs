//! Who speaks: programs that synthesise speech, each with voices of its own.
//!
//! espeak-ng makes its voices from rules: there are many, and none has ever breathed. Those of flite and festival are made
//! from recordings of people, whose consonants, ends of words and breath they keep; there are few. A network that has
//! learned from both does better on real people than one that knows the first alone (on 25 recordings, 5,000 further steps
//! with both took STOI from 0.9336 to 0.9375).

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use super::TrainError;
use crate::random::Random;

/// Whose rules of pronunciation espeak-ng uses; the text is always the same kind of English.
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

/// flite's voices, and how high each speaks, in Hz.
const FLITE: &[(&str, f32)] = &[("kal16", 105.0), ("awb", 130.0), ("rms", 105.0), ("slt", 170.0)];
/// festival's; most of them speak English with an accent.
const FESTIVAL: &[&str] = &[
    "kal_diphone",
    "ked_diphone",
    "cmu_us_slt_arctic_hts",
    "upc_ca_ona_hts",
    "czech_dita",
    "czech_krb",
    "czech_machac",
    "czech_ph",
    "hy_fi_mv_diphone",
    "suo_fi_lj_diphone",
    "lp_diphone",
    "pc_diphone",
];

/// One speaker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Voice {
    /// By rules: a language's, with a variant of the throat.
    Espeak(String),
    Flite(&'static str, f32),
    Festival(&'static str),
}

impl Voice {
    /// Less than half of what is said is said by espeak-ng.
    pub(crate) fn any(random: &mut Random) -> Self {
        match random.below(20) {
            0..9 => Self::Espeak(format!("{}+{}", random.choose(LANGUAGES), random.choose(VARIANTS))),
            9..13 => {
                let (name, pitch_hz) = random.choose(FLITE);
                Self::Flite(name, *pitch_hz)
            }
            _ => Self::Festival(random.choose::<&str>(FESTIVAL)),
        }
    }

    /// The sample rate and the samples, full scale 1. Speed and melody are different each time.
    pub(crate) fn says(&self, text: &str, random: &mut Random) -> Result<(f32, Vec<f32>), TrainError> {
        match self {
            Self::Espeak(voice) => {
                let (pitch, speed, range) = (10 + random.below(80), 115 + random.below(115), 20 + random.below(70));
                let mut espeak = Command::new("espeak-ng");
                espeak.args(["-m", "--stdout", "-v", voice, "-p", &pitch.to_string(), "-s", &speed.to_string()]);
                espeak.arg(format!("<prosody range=\"{range}\">{text}</prosody>"));
                spoken("espeak-ng", voice, espeak, "")
            }
            Self::Flite(voice, pitch_hz) => {
                let settings = [
                    ("duration_stretch", random.between(0.8, 1.25)),
                    ("int_f0_target_mean", pitch_hz * random.between(0.85, 1.25)),
                    ("int_f0_target_stddev", random.between(8.0, 35.0)),
                ];
                let mut flite = Command::new("flite");
                flite.args(["-voice", voice]);
                for (name, value) in settings {
                    flite.args(["--setf", &format!("{name}={value:.2}")]);
                }
                flite.args(["-t", text, "-o", "/dev/stdout"]);
                spoken("flite", voice, flite, "")
            }
            Self::Festival(voice) => {
                let stretch = random.between(0.8, 1.2);
                let mut festival = Command::new("text2wave");
                let voice_and_speed = format!("(begin (voice_{voice}) (Parameter.set 'Duration_Stretch {stretch:.2}))");
                festival.args(["-otype", "riff", "-eval", &voice_and_speed]);
                // Some of the languages have no apostrophe.
                spoken("festival", voice, festival, &text.replace('\'', ""))
            }
        }
    }
}

/// What a program writes: 16-bit WAV, mono, with the usual short header.
fn spoken(
    program: &'static str,
    voice: &str,
    mut command: Command,
    input: &str,
) -> Result<(f32, Vec<f32>), TrainError> {
    let failed = |problem: String| TrainError::Speaker { program, voice: voice.to_owned(), problem };
    let run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut run = run.map_err(|error| match error.kind() {
        ErrorKind::NotFound => TrainError::NoSpeaker { program },
        _ => failed(error.to_string()),
    })?;
    if let Some(mut stdin) = run.stdin.take() {
        // One that does not read its input has closed it, which is no fault.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = run.wait_with_output().map_err(|error| failed(error.to_string()))?;
    let bytes = output.stdout;
    let (Some(rate), true) = (bytes.get(24..28), output.status.success() && bytes.len() > 1000) else {
        return Err(failed(format!("it gave {} bytes", bytes.len())));
    };
    let rate_hz = u32::from_le_bytes([rate[0], rate[1], rate[2], rate[3]]) as f32;
    let samples = bytes[44..].chunks_exact(2);
    Ok((rate_hz, samples.map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect()))
}
